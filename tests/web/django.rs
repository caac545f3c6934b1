//! The Django project of `examples/django`, served by a real Django.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use codex_testkit::require::Unavailable;

use crate::client::Service;

pub(crate) const SECRET: &str = "the SECRET_KEY of both";

#[derive(serde::Deserialize, Clone)]
pub(crate) struct User {
    pub(crate) pk: String,
    pub(crate) password: String,
}

#[derive(serde::Deserialize)]
struct About {
    port: u16,
    django: String,
    users: HashMap<String, User>,
}

/// The served project. Dropping this value stops the server.
pub(crate) struct Django {
    process: Child,
    about: About,
}

impl Django {
    /// Returns the Python of a virtual environment with this Django version. Django comes from the
    /// Python Package Index, and may be unavailable on this machine.
    pub(crate) fn python(version: &str) -> Result<String, Unavailable> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("django-venv-{version}"));
        let script = root.join("scripts/django-venv");
        let made = Command::new(script).arg(version).arg(venv).output();
        let made = made.map_err(|error| Unavailable::new(format!("scripts/django-venv does not run: {error}")))?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(Unavailable::new(format!("no Django {version} from PyPI: {said}")));
        }
        Ok(String::from_utf8(made.stdout).unwrap().trim().to_owned())
    }

    pub(crate) fn start(version: &str, python: &str, redis_url: &str) -> Self {
        let mut process = Command::new(python)
            .arg("service.py")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/django"))
            .env("REDIS_URL", redis_url)
            .env("SECRET_KEY", SECRET)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // The child always ends with this process, because its standard input is closed then.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let about: About = serde_json::from_str(&line).expect("Django says where it serves");
        assert!(about.django.starts_with(version), "{}", about.django);
        Self { process, about }
    }

    pub(crate) fn service(&self) -> Service {
        Service { port: self.about.port }
    }

    pub(crate) fn users(&self) -> HashMap<String, User> {
        self.about.users.clone()
    }
}

impl Drop for Django {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
