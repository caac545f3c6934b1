//! The decimals of `rust_decimal`, in the form of Python's `str(Decimal)`.
//!
//! The form is the "to-scientific-string" of the General Decimal Arithmetic Specification 1.70.

use rust_decimal::Decimal;

use super::{CoderError, TextForm, kind};

const DECIMAL: CoderError =
    CoderError::new("expected a decimal number of at most 96 bits and 28 decimal places, as `-1.10` or `1E-28`");

impl TextForm<kind::Decimal> for Decimal {
    fn to_text(&self) -> Result<String, CoderError> {
        let digits = self.mantissa().unsigned_abs().to_string();
        let sign = if self.is_sign_negative() { "-" } else { "" };
        let places = self.scale() as usize;
        // How many digits stand before the point, were it not for an exponent.
        let whole = digits.len().checked_sub(places);
        Ok(match whole {
            _ if places == 0 => format!("{sign}{digits}"),
            Some(whole) if whole > 0 => format!("{sign}{}.{}", &digits[..whole], &digits[whole..]),
            // Up to five zeros behind the point are written out.
            _ if places - digits.len() <= 5 => format!("{sign}0.{digits:0>places$}"),
            _ => {
                let exponent = places - digits.len() + 1;
                let (first, rest) = digits.split_at(1);
                let point = if rest.is_empty() { "" } else { "." };
                format!("{sign}{first}{point}{rest}E-{exponent}")
            }
        })
    }

    /// A number with a positive exponent is read where its value fits (`1E+3` is 1000), and written without the exponent, which `Decimal`
    /// has no room for.
    fn from_text(text: &str) -> Result<Self, CoderError> {
        let parsed = parse(text);
        let is_form = |decimal: &Self| text.contains("E+") || decimal.to_text().is_ok_and(|written| written == text);
        parsed.filter(is_form).ok_or(DECIMAL)
    }
}

fn parse(text: &str) -> Option<Decimal> {
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (number, exponent) = unsigned
        .split_once('E')
        .map_or((unsigned, Some(0)), |(number, exponent)| {
            // A sign always, digits, and no zero in front of them.
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or("");
            (number, exponent.parse::<i64>().ok().filter(|_| is_number(digits)))
        });
    let exponent = exponent?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if !is_number(whole) || !fraction.bytes().all(|byte| byte.is_ascii_digit()) || number.ends_with('.') {
        return None;
    }
    let mut coefficient: i128 = format!("{whole}{fraction}").parse().ok()?;
    let mut places = i64::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    if text.contains("E+") {
        // Python writes a positive exponent where it does not fall within the digits, behind a single one.
        if whole.len() != 1 || places >= 0 {
            return None;
        }
        let shift = u32::try_from(places.checked_neg()?).ok()?;
        coefficient = if coefficient == 0 {
            0
        } else {
            coefficient.checked_mul(10_i128.checked_pow(shift)?)?
        };
        places = 0;
    }
    let mut decimal = Decimal::try_from_i128_with_scale(coefficient, u32::try_from(places).ok()?).ok()?;
    // Also of a zero: Python keeps the sign of `-0.00`, and so does this.
    decimal.set_sign_negative(negative);
    Some(decimal)
}

/// Digits without a leading zero, but for zero itself.
fn is_number(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit()) && matches!(digits.as_bytes(), [b'0'] | [b'1'..=b'9', ..])
}
