//! The attribute macro `#[cached]` of `codex-kv`, which re-exports it (feature `macros`).

mod expand;
mod function;
mod loader;
mod options;

use proc_macro::TokenStream;
use syn::parse_macro_input;

use function::Function;
use options::Options;

/// Caches the results of a function; see `codex_kv::cached`.
#[proc_macro_attribute]
pub fn cached(options: TokenStream, function: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as Options);
    let function = parse_macro_input!(function as Function);
    expand::expand(&options, function)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
