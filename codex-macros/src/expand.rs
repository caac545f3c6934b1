//! The expansion of the attribute.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Error, Ident, LitStr, Result, ext::IdentExt as _, spanned::Spanned as _};

use crate::{function::Function, loader, options::Options};

pub(crate) fn expand(options: &Options, function: Function) -> Result<TokenStream> {
    if options.loader.is_empty() {
        computed(options, &function)
    } else {
        loader::expand(options, function)
    }
}

/// Returns a function that calls `get_or_try_set_with` with the original body as the closure.
fn computed(options: &Options, function: &Function) -> Result<TokenStream> {
    let key = key(options, function)?;
    let is_async = function.is_async();
    let timeout = &options.timeout;
    let cache = cache(options, is_async);
    let map_error = map_error(options);
    let timeout = timeout.as_ref().map(|(_, timeout)| quote!(#timeout));
    let timeout = timeout.unwrap_or_else(|| quote!(::codex_kv::Timeout::Default));
    let output = &function.output;
    let body = &function.item.block;
    let run = if is_async {
        quote! {
            let __codex_cache = #cache;
            // Evaluated before the closure takes the arguments.
            let __codex_timeout = #timeout;
            let __codex_compute = || ::codex_kv::__private::typed::<#output, _>(async move #body);
            let __codex_outcome =
                __codex_cache.get_or_try_set_with(&__codex_key, __codex_timeout, __codex_compute).await;
        }
    } else {
        quote! {
            let __codex_cache = #cache;
            let __codex_timeout = #timeout;
            let __codex_compute = move || -> #output #body;
            let __codex_outcome =
                __codex_cache.get_or_try_set_with(&__codex_key, __codex_timeout, __codex_compute);
        }
    };
    Ok(with_body(
        function,
        &quote! {
            #key
            #run
            ::codex_kv::__private::settle(__codex_outcome, #map_error)
        },
    ))
}

/// Returns the function with its body replaced by `body`.
pub(crate) fn with_body(function: &Function, body: &TokenStream) -> TokenStream {
    let attributes = &function.item.attrs;
    let visibility = &function.item.vis;
    let signature = &function.item.sig;
    quote! {
        #(#attributes)*
        #visibility #signature {
            #body
        }
    }
}

/// Returns an expression for a handle of the cache.
pub(crate) fn cache(options: &Options, is_async: bool) -> TokenStream {
    let cache = &options.cache;
    // An error about the type points at the option.
    let span = cache.span().resolved_at(Span::call_site());
    let handle = if is_async {
        quote_spanned!(span=> ::codex_kv::__private::cache)
    } else {
        quote_spanned!(span=> ::codex_kv::__private::blocking_cache)
    };
    // In an argument of the call, the expected type would reach into an `if` or a `?`.
    quote_spanned! {span=>
        match &#cache {
            __codex_cache => #handle(__codex_cache),
        }
    }
}

/// Returns the declaration of `__codex_key`.
fn key(options: &Options, function: &Function) -> Result<TokenStream> {
    for skipped in &options.skip {
        if !function.arguments.iter().any(|argument| argument.name == *skipped) {
            return Err(Error::new(skipped.span(), "expected the name of an argument"));
        }
    }
    if let Some(key) = &options.key {
        if let Some(skipped) = options.skip.first() {
            return Err(Error::new(
                skipped.span(),
                "`skip` is for the default key; with `key`, leave the argument out of the format string",
            ));
        }
        if let Some(name) = &options.name {
            return Err(Error::new(
                name.span(),
                "`name` is for the default key; with `key`, write it into the format string",
            ));
        }
        return Ok(quote! {
            let __codex_key = ::std::format!(#key);
        });
    }
    if let Some(receiver) = function.receiver {
        return Err(Error::new(
            receiver,
            "expected `key = \"...\"` for a method, because what `self` adds to the key is not known",
        ));
    }
    let names: Vec<&Ident> = function
        .arguments
        .iter()
        .map(|argument| &argument.name)
        .filter(|name| !options.skip.contains(name))
        .collect();
    Ok(default_key(options, function, &names))
}

/// Returns the declaration of `__codex_key`, built from the function's name and these arguments.
pub(crate) fn default_key(options: &Options, function: &Function, arguments: &[&Ident]) -> TokenStream {
    let name = name(options, function);
    let map_error = map_error(options);
    quote! {
        let __codex_key = match ::codex_kv::__private::key(#name, &(#(&#arguments,)*)) {
            ::core::result::Result::Ok(key) => key,
            ::core::result::Result::Err(error) => return ::core::result::Result::Err((#map_error)(error)),
        };
    }
}

/// Returns the name at the start of the default key.
pub(crate) fn name(options: &Options, function: &Function) -> LitStr {
    options
        .name
        .clone()
        .unwrap_or_else(|| LitStr::new(&function.name().unraw().to_string(), function.name().span()))
}

pub(crate) fn map_error(options: &Options) -> TokenStream {
    let map_error = options.map_error.as_ref().map(|map_error| quote!(#map_error));
    map_error.unwrap_or_else(|| quote!(::core::convert::From::<::codex_kv::CacheError>::from))
}
