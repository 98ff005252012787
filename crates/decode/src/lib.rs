//! JSON bytes become Arrow columns; schema inference and evolution. Pure: no I/O, no clock.
