//! The suite every implementation passes.
