//! A browser over real sockets: HTTP/1.1, one connection per request, one cookie.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use codex_kv::SessionKey;

/// A service on this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service {
    pub(crate) port: u16,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) set_cookie: Option<String>,
    pub(crate) body: String,
}

/// A visitor of all services. They share a host name, so the browser sends its cookie to each of
/// them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Visitor {
    pub(crate) cookie: Option<String>,
}

impl Visitor {
    pub(crate) fn ask(&mut self, service: Service, path: &str) -> String {
        let reply = self.reply(service, path, "");
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        reply.body
    }

    pub(crate) fn write(&mut self, service: Service, name: &str, json: &str) {
        let reply = self.reply(service, &format!("/write/{name}"), json);
        assert_eq!((reply.status, reply.body.as_str()), (200, "written"), "{name}");
    }

    pub(crate) fn reply(&mut self, service: Service, path: &str, body: &str) -> Reply {
        let mut stream = TcpStream::connect(("127.0.0.1", service.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let cookie = self.cookie.as_ref();
        let cookie = cookie.map_or(String::new(), |cookie| format!("Cookie: sessionid={cookie}\r\n"));
        let length = body.len();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{cookie}Content-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{path}: {answer:?}"));
        let header = |wanted: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned()))
        };
        let set_cookie = header("set-cookie");
        if let Some(cookie) = &set_cookie {
            let value = cookie.strip_prefix("sessionid=").unwrap().split(';').next().unwrap();
            // Django quotes an empty value.
            self.cookie = (!value.trim_matches('"').is_empty()).then(|| value.to_owned());
        }
        Reply {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            set_cookie,
            body: body.to_owned(),
        }
    }

    pub(crate) fn key(&self) -> SessionKey {
        self.cookie.as_deref().unwrap().parse().unwrap()
    }
}
