//! The expansion to a function whose values a loader computes and refreshes.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, FnArg, Pat, Result, Type};

use crate::{
    expand::{cache, default_key, map_error, name, with_body},
    function::Function,
    options::Options,
};

pub(crate) fn expand(options: &Options, mut function: Function) -> Result<TokenStream> {
    check(options, &function)?;
    // Only the task that runs the body binds the arguments as `mut`.
    for input in &mut function.item.sig.inputs {
        if let FnArg::Typed(argument) = input
            && let Pat::Ident(pattern) = &mut *argument.pat
        {
            pattern.mutability = None;
        }
    }
    let names: Vec<_> = function.arguments.iter().map(|argument| &argument.name).collect();
    let key = default_key(options, &function, &names);
    let name = name(options, &function);
    let map_error = map_error(options);
    let patterns = function.arguments.iter().map(|argument| &argument.pattern);
    let kinds = function.arguments.iter().map(|argument| &argument.kind);
    let settings = options.loader.iter().map(|(setting, value)| quote!(.#setting(#value)));
    let output = &function.output;
    // Without the body's braces, about which the compiler would warn.
    let body = &function.item.block.stmts;
    let arguments = quote! {
        let (#(#patterns,)*): (#(#kinds,)*) = match ::codex_kv::__private::arguments(#name, &__codex_key) {
            ::core::result::Result::Ok(arguments) => arguments,
            ::core::result::Result::Err(error) => return ::core::result::Result::Err((#map_error)(error)),
        };
    };
    let (cache, load, get) = if function.is_async() {
        (
            cache(options, true),
            quote!(::codex_kv::__private::typed::<#output, _>(async move { #arguments #(#body)* })),
            quote!(__codex_loader.get(&__codex_key).await),
        )
    } else {
        (
            {
                let cache = cache(options, false);
                quote!(::codex_kv::Cache::from(#cache))
            },
            quote!(::codex_kv::__private::on_a_thread(move || -> #output { #arguments #(#body)* })),
            quote!(::codex_kv::__private::wait(__codex_loader.get(&__codex_key))),
        )
    };
    Ok(with_body(
        &function,
        &quote! {
            static __CODEX_LOADER: ::codex_kv::__private::LoaderCell<#output> = ::codex_kv::__private::LoaderCell::new();
            #key
            let __codex_loader = __CODEX_LOADER.get_or_init(|| {
                let __codex_cache = #cache;
                __codex_cache.loader(#name)#(#settings)*.load(|__codex_key: ::std::string::String| #load)
            });
            ::codex_kv::__private::settle(#get, #map_error)
        },
    ))
}

/// Refuses options and arguments that a spawned task cannot support.
fn check(options: &Options, function: &Function) -> Result<()> {
    let setting = options
        .loader
        .first()
        .map_or_else(String::new, |(setting, _)| setting.to_string());
    let refused =
        |what: &str| format!("{what} does not go with `{setting}`: the value is computed in a task of its own");
    if let Some(key) = &options.key {
        return Err(Error::new(
            key.span(),
            refused("`key`") + ", which reads the arguments from the default key",
        ));
    }
    if let Some(skipped) = options.skip.first() {
        return Err(Error::new(
            skipped.span(),
            refused("`skip`") + ", which reads the arguments from the key",
        ));
    }
    if let Some((timeout, _)) = &options.timeout {
        return Err(Error::new(
            timeout.span(),
            format!("`timeout` does not go with `{setting}`: a value lives for `fresh_for` and `stale_for` together"),
        ));
    }
    if let Some(receiver) = function.receiver {
        return Err(Error::new(receiver, refused("`self`")));
    }
    let generics = &function.item.sig.generics;
    if !generics.params.is_empty() {
        return Err(Error::new_spanned(
            generics,
            format!("a generic function does not go with `{setting}`: there is one loader for the function"),
        ));
    }
    for argument in &function.arguments {
        if let Type::Reference(reference) = &argument.kind {
            return Err(Error::new_spanned(
                reference,
                format!("expected an owned argument with `{setting}`: the value is computed in a task of its own"),
            ));
        }
    }
    Ok(())
}
