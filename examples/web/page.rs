//! HTML pages. All input of visitors is escaped.

use std::{fmt::Write as _, time::Duration};

use codex_kv::session::UserSession;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8883;--soft:#8881;--accent:#0b6e99;--card:#fff;--back:#f4f5f7;--text:#1c2126}\
@media(prefers-color-scheme:dark){:root{--card:#1e2329;--back:#14171b;--text:#e8eaed;--accent:#2b8fbd}}\
*{box-sizing:border-box}\
body{font:17px/1.55 system-ui,sans-serif;margin:0;background:var(--back);color:var(--text)}\
header,main{max-width:44rem;margin:0 auto;padding:0 1.2rem}\
header{display:flex;flex-wrap:wrap;align-items:baseline;gap:.3rem 1.6rem;padding-top:2rem;padding-bottom:.4rem}\
h1{font-size:1.5rem;margin:0;flex:1}h2{font-size:.85rem;letter-spacing:.06em;text-transform:uppercase;opacity:.65;margin:0 0 .6rem}\
nav{display:flex;gap:1.2rem}a{color:var(--accent)}nav a{text-decoration:none}nav a:hover{text-decoration:underline}\
section{background:var(--card);border:1px solid var(--line);border-radius:.8rem;padding:1.2rem 1.4rem;margin:1rem 0}\
form{display:flex;gap:.6rem;flex-wrap:wrap}.row{display:flex;gap:.6rem;flex-wrap:wrap;align-items:center}\
input,button{font:inherit;padding:.45rem .8rem;border:1px solid var(--line);border-radius:.5rem}\
input{flex:1 1 9rem;min-width:0;background:var(--soft);color:inherit}\
button{background:var(--accent);color:#fff;border-color:transparent;cursor:pointer}button:hover{filter:brightness(1.1)}\
button.quiet{background:none;color:inherit;border-color:var(--line)}\
.who{font-size:1.3rem;font-weight:600;margin:0 0 .8rem}.big{font-size:2.6rem;line-height:1.2;font-variant-numeric:tabular-nums}\
ul{margin:0 0 1rem;padding:0;list-style:none}li{padding:.45rem 0;border-bottom:1px solid var(--line);overflow-wrap:anywhere}\
li:last-child{border:0}.empty{opacity:.6;margin:0 0 1rem}p{margin:.4rem 0 0}\
.tag{background:var(--accent);color:#fff;border-radius:1rem;padding:.1rem .6rem;font-size:.75rem;white-space:nowrap}";

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
         <link rel=icon href='data:,'><title>{title}</title><style>{STYLE}</style>\
         <header><h1>{title}</h1>\
         <nav><a href=/>Shop</a><a href=/slow>Slow page</a><a href=/sessions>My sessions</a></nav></header><main>{body}</main>"
    )
}

/// Renders a button that sends a POST.
fn button(action: &str, class: &str, text: &str) -> String {
    format!("<form method=post action={action}><button class='{class}'>{text}</button></form>")
}

pub(crate) fn home(user: Option<&str>, visits: u64, cart: &[String]) -> String {
    let who = match user {
        Some(user) => format!(
            "<h2>Logged in as</h2><p class=who id=user>{}</p><div class=row>{}{}</div>",
            escape(user),
            button("/logout", "", "Log out"),
            button("/logout-everywhere", "quiet", "Log out everywhere")
        ),
        None => "<h2>Not logged in</h2><form method=post action=/login>\
                 <input name=user placeholder=ada aria-label=User autocomplete=username required>\
                 <input name=password type=password placeholder=lovelace aria-label=Password autocomplete=current-password required>\
                 <button>Log in</button></form>"
            .to_owned(),
    };
    let mut items = String::new();
    for item in cart {
        let _ = write!(items, "<li>{}", escape(item));
    }
    let (cart, empty) = if items.is_empty() {
        ("<p class=empty>Nothing yet.</p>".to_owned(), String::new())
    } else {
        (
            format!("<ul id=cart>{items}</ul>"),
            format!("<p>{}", button("/cart/clear", "quiet", "Empty the cart")),
        )
    };
    let body = format!(
        "<section>{who}</section>\
         <section><h2>Your visits</h2><div class=big id=visits>{visits}</div></section>\
         <section><h2>Your cart</h2>{cart}\
         <form method=post action=/cart/add><input name=item placeholder='a good book' aria-label=Item required><button>Add</button></form>\
         {empty}</section>"
    );
    page("A small shop", &body)
}

pub(crate) fn slow(age: u64, takes: Duration, kept: Duration) -> String {
    let body = format!(
        "<section><h2>Computed</h2><div class=big><span id=age>{age}</span> ms ago</div>\
         <p>Computing this page takes {} ms. It is cached for {} s. <a href=/slow>Reload</a></section>",
        takes.as_millis(),
        kept.as_secs()
    );
    page("A slow page", &body)
}

pub(crate) fn sessions(user: &str, sessions: &[UserSession], here: Option<&str>) -> String {
    let mut items = String::new();
    for session in sessions {
        let _ = write!(items, "<li>{} ", escape(session.label.as_deref().unwrap_or_default()));
        if here == Some(&session.id) {
            items.push_str("<span class=tag>this one</span>");
        } else {
            let _ = write!(
                items,
                "<form method=post action=/sessions/end><input type=hidden name=id value='{}'>\
                 <button class=quiet>End</button></form>",
                escape(&session.id)
            );
        }
    }
    let body = format!(
        "<section><h2>Logins of {}</h2><ul id=sessions>{items}</ul>{}</section>",
        escape(user),
        button("/logout-everywhere", "", "Log out everywhere")
    );
    page("My sessions", &body)
}

pub(crate) fn message(text: &str) -> String {
    let body = format!("<section><div class=who id=message>{text}</div><a href=/>Back to the shop</a></section>");
    page("A small shop", &body)
}
