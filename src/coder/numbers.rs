//! The decimals of `rust_decimal`, in the form of Python's `str(Decimal)`.
//!
//! The form is the "to-scientific-string" of the General Decimal Arithmetic Specification 1.70.

use rust_decimal::Decimal;

use super::{CoderError, TextForm, kind};

const NO_DECIMAL: CoderError =
    CoderError::new("expected a decimal number as Python writes it, such as `-1.10`, `1E+3` or `1E-28`");
const DOES_NOT_FIT: CoderError = CoderError::new("expected a decimal number of at most 96 bits and 28 decimal places");

impl TextForm<kind::Decimal> for Decimal {
    fn to_text(&self) -> Result<String, CoderError> {
        let digits = self.mantissa().unsigned_abs().to_string();
        let sign = if self.is_sign_negative() { "-" } else { "" };
        let places = self.scale() as usize;
        // The number of digits before the point, without an exponent.
        let whole = digits.len().checked_sub(places);
        Ok(match whole {
            _ if places == 0 => format!("{sign}{digits}"),
            Some(whole) if whole > 0 => format!("{sign}{}.{}", &digits[..whole], &digits[whole..]),
            // Up to five zeros after the point are written without an exponent.
            _ if places - digits.len() <= 5 => format!("{sign}0.{digits:0>places$}"),
            _ => {
                let exponent = places - digits.len() + 1;
                let (first, rest) = digits.split_at(1);
                let point = if rest.is_empty() { "" } else { "." };
                format!("{sign}{first}{point}{rest}E-{exponent}")
            }
        })
    }

    /// Reads a number. A number with a positive exponent is read if its value fits: `1E+3` is 1000.
    /// It is written back without the exponent, because a `Decimal` cannot store a positive
    /// exponent.
    fn from_text(text: &str) -> Result<Self, CoderError> {
        let digits = Digits::parse(text).ok_or(NO_DECIMAL)?;
        let decimal = digits.to_decimal().ok_or(DOES_NOT_FIT)?;
        // A number has many spellings. Only Python's spelling is accepted.
        if digits.exponent > 0 || decimal.to_text()? == text {
            Ok(decimal)
        } else {
            Err(NO_DECIMAL)
        }
    }
}

/// Returns the number that `rust_decimal` writes as these digits, without an exponent.
pub(super) fn from_digits(digits: &str) -> Result<Decimal, CoderError> {
    let parsed = Digits::parse(digits).ok_or(NO_DECIMAL)?;
    parsed.to_decimal().ok_or(DOES_NOT_FIT)
}

/// The parts of a decimal number.
struct Digits<'a> {
    is_negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Digits<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (is_negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (number, exponent) = match unsigned.split_once('E') {
            Some((number, exponent)) => (number, parse_exponent(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let is_number =
            is_number(whole) && fraction.bytes().all(|byte| byte.is_ascii_digit()) && !number.ends_with('.');
        // Python writes a positive exponent after a single digit, and only if it exceeds the
        // fraction.
        let is_form =
            exponent <= 0 || whole.len() == 1 && i64::try_from(fraction.len()).is_ok_and(|len| len < exponent);
        (is_number && is_form).then_some(Self {
            is_negative,
            whole,
            fraction,
            exponent,
        })
    }

    fn to_decimal(&self) -> Option<Decimal> {
        let mut coefficient: i128 = format!("{}{}", self.whole, self.fraction).parse().ok()?;
        let mut places = i64::try_from(self.fraction.len()).ok()?.checked_sub(self.exponent)?;
        if places < 0 {
            let shift = u32::try_from(places.checked_neg()?).ok()?;
            coefficient = match coefficient {
                0 => 0,
                _ => coefficient.checked_mul(10_i128.checked_pow(shift)?)?,
            };
            places = 0;
        }
        let mut decimal = Decimal::try_from_i128_with_scale(coefficient, u32::try_from(places).ok()?).ok()?;
        // This includes zero: Python keeps the sign of `-0.00`.
        decimal.set_sign_negative(self.is_negative);
        Some(decimal)
    }
}

/// Parses an exponent: a sign followed by digits without a leading zero.
fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-'])?;
    if is_number(digits) { text.parse().ok() } else { None }
}

/// Returns whether these are digits without a leading zero, or zero itself.
fn is_number(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit()) && matches!(digits.as_bytes(), [b'0'] | [b'1'..=b'9', ..])
}
