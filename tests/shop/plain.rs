//! The same tests without a browser, for machines without Chromium, and tests with requests that no
//! browser sends.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use crate::process::Shop;

struct Client<'a> {
    shop: &'a Shop,
    cookie: String,
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl<'a> Client<'a> {
    fn new(shop: &'a Shop) -> Self {
        Self {
            shop,
            cookie: String::new(),
        }
    }

    /// Makes a request on a new connection, with additional raw headers.
    fn send(&mut self, method: &str, path: &str, headers: &str, form: &str) -> Reply {
        let place = self.shop.url().strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(place).unwrap();
        let cookie = &self.cookie;
        let length = form.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\nUser-Agent: <Lynx>\r\n{cookie}{headers}\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        if let Some((_, set)) = lines.find(|(name, _)| name.eq_ignore_ascii_case("set-cookie")) {
            self.cookie = format!("Cookie: {}\r\n", set.split(';').next().unwrap());
        }
        Reply {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    fn get(&mut self, path: &str) -> String {
        let reply = self.send("GET", path, "", "");
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        reply.body
    }

    fn post(&mut self, path: &str, form: &str) {
        assert_eq!(self.send("POST", path, "", form).status, 303, "{path}");
    }
}

#[test]
fn a_visitor_counts_fills_a_cart_and_keeps_it_at_the_login() {
    let shop = Shop::start("plain", "memory://");
    let (mut one, mut two) = (Client::new(&shop), Client::new(&shop));
    assert!(one.get("/").contains("id=visits>1<"));
    one.post("/cart/add", "item=%3Cscript%3E");
    one.post("/login", "user=ada&password=lovelace");
    let page = one.get("/");
    assert!(page.contains("id=visits>2<") && page.contains("id=user>ada<"));
    assert!(page.contains("<li>&lt;script&gt;"), "{page}");
    one.post("/cart/clear", "");
    assert!(!one.get("/").contains("script"));
    assert!(two.get("/").contains("id=visits>1<"), "another visitor");
}

#[test]
fn log_out_everywhere_ends_the_other_browsers_session() {
    let shop = Shop::start("plain", "memory://");
    let (mut one, mut two) = (Client::new(&shop), Client::new(&shop));
    for client in [&mut one, &mut two] {
        client.post("/login", "user=ada&password=lovelace");
    }
    let page = one.get("/sessions");
    let count = |text: &str| page.matches(text).count();
    assert_eq!((count("<li>&lt;Lynx&gt;"), count("this one")), (2, 1));
    one.post("/logout-everywhere", "");
    assert!(two.get("/").contains("Not logged in"));
    two.post("/login", "user=ada&password=lovelace");
    assert!(two.get("/").contains("id=user>ada<"));
    assert_eq!(two.get("/sessions").matches("<li>").count(), 1);
    two.post("/logout", "");
    assert!(two.get("/").contains("Not logged in"));
}

#[test]
fn a_wrong_password_and_another_site_change_nothing() {
    let shop = Shop::start("plain", "memory://");
    let mut one = Client::new(&shop);
    let reply = one.send("POST", "/login", "", "user=ada&password=x");
    assert_eq!(reply.status, 403);
    one.post("/login", "user=ada&password=lovelace");
    for foreign in [
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Origin: https://evil.example\r\n",
        "Origin: null\r\n",
    ] {
        assert_eq!(one.send("POST", "/logout", foreign, "").status, 403, "{foreign}");
    }
    assert!(one.get("/").contains("id=user>ada<"));
    let own = format!("Origin: {}\r\n", shop.url());
    assert_eq!(one.send("POST", "/logout", &own, "").status, 303);
}

#[test]
fn pages_are_in_no_frame_run_no_script_and_are_not_kept() {
    let shop = Shop::start("plain", "memory://");
    let head = Client::new(&shop).send("GET", "/", "", "").head.to_lowercase();
    for header in [
        "content-security-policy: default-src 'none';",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
        "vary: cookie",
    ] {
        assert!(head.contains(header), "{header}: {head}");
    }
}
