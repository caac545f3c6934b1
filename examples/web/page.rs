//! The HTML. Everything that a visitor can have written is escaped.

use std::fmt::Write as _;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--accent:#0b6e99}\
body{font:17px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem}\
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:0 0 .5rem}\
section{border:1px solid var(--line);border-radius:.6rem;padding:1rem 1.2rem;margin:1rem 0}\
form{display:inline-flex;gap:.5rem;flex-wrap:wrap}\
input,button{font:inherit;padding:.3rem .7rem;border:1px solid var(--line);border-radius:.4rem}\
button{background:var(--accent);color:#fff;border-color:transparent;cursor:pointer}\
.big{font-size:2.5rem;font-variant-numeric:tabular-nums}li{margin:.2rem 0}\
nav a{margin-right:1rem}small{opacity:.7}";

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character => escaped.push(character),
        }
    }
    escaped
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>{title}</title><style>{STYLE}</style><h1>{title}</h1>\
         <nav><a href=/>Shop</a><a href=/slow>Slow page</a><a href=/sessions>My sessions</a></nav>{body}"
    )
}

fn button(action: &str, text: &str) -> String {
    format!("<form method=post action={action}><button>{text}</button></form> ")
}

pub(crate) fn home(user: Option<&str>, visits: u64, cart: &[String]) -> String {
    let who = match user {
        Some(user) => format!(
            "<h2 id=user>{}</h2>{}{}",
            escape(user),
            button("/logout", "Log out"),
            button("/logout-everywhere", "Log out everywhere")
        ),
        None => "<h2>Not logged in</h2><form method=post action=/login>\
                 <input name=user placeholder=ada autocomplete=username>\
                 <input name=password type=password placeholder=lovelace autocomplete=current-password>\
                 <button>Log in</button></form>"
            .to_owned(),
    };
    let mut items = String::new();
    for item in cart {
        let _ = write!(items, "<li>{}", escape(item));
    }
    let body = format!(
        "<section>{who}</section>\
         <section><h2>Your visits</h2><span class=big id=visits>{visits}</span></section>\
         <section><h2>Your cart</h2><ul id=cart>{items}</ul>\
         <form method=post action=/cart/add><input name=item placeholder='a good book' required><button>Add</button></form> {}</section>",
        button("/cart/clear", "Empty")
    );
    page("A small shop", &body)
}

pub(crate) fn slow(age: u128, takes: u128, kept: u64) -> String {
    let body = format!(
        "<section><h2>Computed</h2><span class=big><span id=age>{age}</span> ms ago</span>\
         <p>It takes {takes} ms and is kept for {kept} s. <a href=/slow>Again</a></section>"
    );
    page("A slow page", &body)
}

pub(crate) fn sessions(user: &str, visits: &[(String, bool)]) -> String {
    let mut items = String::new();
    for (browser, this) in visits {
        let mark = if *this { " <small>(this one)</small>" } else { "" };
        let _ = write!(items, "<li>{}{mark}", escape(browser));
    }
    let body = format!(
        "<section><h2>{}</h2><ul id=sessions>{items}</ul>{}</section>",
        escape(user),
        button("/logout-everywhere", "Log out everywhere")
    );
    page("My sessions", &body)
}

pub(crate) fn message(text: &str) -> String {
    page("A small shop", &format!("<section id=message>{text}</section>"))
}
