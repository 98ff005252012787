//! Numbers that a column holds exactly, and those it does not.

use crate::conflicts::Reason;

/// Integers up to here are all different as doubles.
const DOUBLE_INTEGER_MAX: u64 = 1 << 53;

/// The value of a checked JSON integer in 64 bits. Not for `-0`, which is no integer's text.
///
/// # Errors
/// [`Reason::InexactInteger`] when it needs more bits, or is `-0`.
pub(crate) fn long(integer: &str) -> Result<i64, Reason> {
    let bytes = integer.as_bytes();
    let (negative, digits) = match bytes.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, bytes),
    };
    let mut magnitude = 0_u64;
    for digit in digits {
        magnitude = magnitude
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(u64::from(digit - b'0')))
            .ok_or(Reason::InexactInteger)?;
    }
    match (negative, magnitude) {
        (true, 0) => Err(Reason::InexactInteger),
        (true, magnitude) => 0_i64.checked_sub_unsigned(magnitude).ok_or(Reason::InexactInteger),
        (false, magnitude) => i64::try_from(magnitude).map_err(|_| Reason::InexactInteger),
    }
}

/// The double that is exactly this checked JSON integer.
///
/// # Errors
/// [`Reason::InexactInteger`] when none is; [`Reason::NumberOutOfRange`] when it is beyond all.
pub(crate) fn double_of_integer(integer: &str) -> Result<f64, Reason> {
    #[expect(clippy::cast_precision_loss, reason = "no loss up to this bound")]
    if let Ok(value) = long(integer)
        && value.unsigned_abs() <= DOUBLE_INTEGER_MAX
    {
        return Ok(value as f64);
    }
    let nearest = parse(integer)?;
    if format!("{nearest:.0}") == integer { Ok(nearest) } else { Err(Reason::InexactInteger) }
}

/// The double nearest to a checked JSON number with a fraction or an exponent.
///
/// # Errors
/// [`Reason::NumberOutOfRange`] when it is beyond all doubles, or so small that only zero is near.
pub(crate) fn double(decimal: &str) -> Result<f64, Reason> {
    let nearest = parse(decimal)?;
    if nearest == 0.0 && !is_zero(decimal) {
        return Err(Reason::NumberOutOfRange);
    }
    Ok(nearest)
}

fn parse(number: &str) -> Result<f64, Reason> {
    let nearest: f64 = number.parse().expect("every JSON number is one to Rust's parser");
    if nearest.is_finite() { Ok(nearest) } else { Err(Reason::NumberOutOfRange) }
}

fn is_zero(decimal: &str) -> bool {
    let mantissa = decimal.bytes().take_while(|byte| !matches!(byte, b'e' | b'E'));
    mantissa.filter(u8::is_ascii_digit).all(|digit| digit == b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_takes_exactly_the_integers_of_64_bits() {
        for value in [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX] {
            assert_eq!(long(&value.to_string()), Ok(value));
        }
        for beyond in ["9223372036854775808", "-9223372036854775809", "18446744073709551616", "-0"] {
            assert_eq!(long(beyond), Err(Reason::InexactInteger), "{beyond}");
        }
    }

    #[test]
    fn a_double_takes_an_integer_only_exactly() {
        for exact in [
            "0",
            "-0",
            "9007199254740992",
            "9007199254740994",
            "-9223372036854775808",
            "18446744073709551616",
        ] {
            assert_eq!(format!("{:.0}", double_of_integer(exact).unwrap()), exact);
        }
        for inexact in ["9007199254740993", "9223372036854775807", "123456789012345678901234567890"] {
            assert_eq!(double_of_integer(inexact), Err(Reason::InexactInteger), "{inexact}");
        }
        assert_eq!(double_of_integer(&"9".repeat(400)), Err(Reason::NumberOutOfRange));
    }

    #[test]
    fn a_decimal_is_its_nearest_double_unless_none_is_near() {
        assert_eq!(double("0.1"), Ok(0.1));
        assert_eq!(double("-1.5E+3"), Ok(-1500.0));
        assert_eq!(double("5e-324"), Ok(5e-324));
        assert_eq!(double("0.000e-999"), Ok(0.0));
        for beyond in ["1e400", "-1e400", "1e-400"] {
            assert_eq!(double(beyond), Err(Reason::NumberOutOfRange), "{beyond}");
        }
    }
}
