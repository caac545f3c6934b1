//! The arguments of the attribute.

use syn::{
    Error, Expr, Ident, LitStr, Result, Token, parenthesized,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
};

/// The settings of a loader. Each is the name of a method of the loader's builder.
const LOADER: [&str; 6] = ["fresh_for", "stale_for", "lease", "jitter", "max_wait", "retry_after"];

const KNOWN: &str = "expected one of `cache`, `key`, `name`, `skip(...)`, `timeout`, `map_error`, `fresh_for`, `stale_for`, `lease`, \
                     `jitter`, `max_wait` and `retry_after`";

/// The options in `#[cached(...)]`.
pub(crate) struct Options {
    pub(crate) cache: Expr,
    pub(crate) key: Option<LitStr>,
    pub(crate) name: Option<LitStr>,
    pub(crate) skip: Vec<Ident>,
    pub(crate) timeout: Option<(Ident, Expr)>,
    pub(crate) map_error: Option<Expr>,
    /// The settings of the loader, in the order in which the attribute lists them.
    pub(crate) loader: Vec<(Ident, Expr)>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut cache = None;
        let mut options = Self {
            cache: Expr::PLACEHOLDER,
            key: None,
            name: None,
            skip: Vec::new(),
            timeout: None,
            map_error: None,
            loader: Vec::new(),
        };
        let mut seen: Vec<String> = Vec::new();
        while !input.is_empty() {
            let option: Ident = input.parse().map_err(|error| Error::new(error.span(), KNOWN))?;
            let name = option.to_string();
            if seen.contains(&name) {
                return Err(Error::new(option.span(), format!("`{name}` is given twice")));
            }
            if name == "skip" {
                let list;
                parenthesized!(list in input);
                options.skip = Punctuated::<Ident, Token![,]>::parse_terminated(&list)?
                    .into_iter()
                    .collect();
            } else {
                let known =
                    ["cache", "key", "name", "timeout", "map_error"].contains(&&*name) || LOADER.contains(&&*name);
                if !known {
                    return Err(Error::new(option.span(), KNOWN));
                }
                input.parse::<Token![=]>()?;
                match &*name {
                    "cache" => cache = Some(input.parse()?),
                    "key" => options.key = Some(input.parse()?),
                    "name" => options.name = Some(input.parse()?),
                    "timeout" => options.timeout = Some((option, input.parse()?)),
                    "map_error" => options.map_error = Some(input.parse()?),
                    _ => options.loader.push((option, input.parse()?)),
                }
            }
            seen.push(name);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        options.cache = cache.ok_or_else(|| {
            Error::new(
                input.span(),
                "expected `cache = ...`, the cache that holds the values, for example `#[cached(cache = CACHE)]`",
            )
        })?;
        Ok(options)
    }
}
