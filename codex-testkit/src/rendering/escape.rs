//! Escaping of text in XML and HTML.

use std::fmt::Write as _;

/// Returns `text` as the content of an element or of a quoted attribute, in XML 1.0 and in HTML.
///
/// Characters that XML cannot represent (control characters, U+FFFE, U+FFFF: section 2.2 of XML
/// 1.0) are written as Rust escapes: `\u{1b}`.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // A parser would turn these into spaces in an attribute, and a carriage return into a
            // line feed anywhere.
            '\t' | '\n' | '\r' => {
                let _ = write!(escaped, "&#{};", u32::from(char));
            }
            char if char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}') => {
                escaped.extend(char.escape_unicode());
            }
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_is_read_back() {
        let hostile = "</td><script>alert('x')</script> & \"&amp;\" ]]> <!-- \t\r\n é 🦀";
        let xml = format!("<a b=\"{0}\" c='{0}'>{0}</a>", escape(hostile));
        let document = roxmltree::Document::parse(&xml).unwrap();
        let root = document.root_element();
        assert_eq!(root.text(), Some(hostile));
        assert_eq!(root.attribute("b"), Some(hostile));
        assert_eq!(root.attribute("c"), Some(hostile));
    }

    #[test]
    fn what_xml_cannot_hold_is_shown() {
        assert_eq!(
            escape("a\0b\u{1b}[31m\u{7f}\u{ffff}"),
            r"a\u{0}b\u{1b}[31m\u{7f}\u{ffff}"
        );
    }
}
