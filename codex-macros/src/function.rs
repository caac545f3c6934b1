//! The annotated function.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens as _;
use syn::{
    Error, FnArg, Ident, ItemFn, Pat, Result, ReturnType, Type,
    parse::{Parse, ParseStream},
};

/// A function whose results can be cached.
pub(crate) struct Function {
    pub(crate) item: ItemFn,
    /// The arguments, without `self`.
    pub(crate) arguments: Vec<Argument>,
    pub(crate) output: Type,
    /// The receiver of a method.
    pub(crate) receiver: Option<Span>,
}

pub(crate) struct Argument {
    pub(crate) name: Ident,
    /// The pattern of the argument: `name` or `mut name`.
    pub(crate) pattern: TokenStream,
    pub(crate) kind: Type,
}

impl Function {
    pub(crate) fn is_async(&self) -> bool {
        self.item.sig.asyncness.is_some()
    }

    pub(crate) fn name(&self) -> &Ident {
        &self.item.sig.ident
    }
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let item: ItemFn = input.parse()?;
        let signature = &item.sig;
        if let Some(constness) = &signature.constness {
            return Err(Error::new(constness.span, "a `const fn` cannot ask a cache"));
        }
        let output = match &signature.output {
            ReturnType::Type(_, output) if is_result(output) => (**output).clone(),
            ReturnType::Type(_, output) => return Err(Error::new_spanned(output, NO_RESULT)),
            ReturnType::Default => return Err(Error::new(signature.ident.span(), NO_RESULT)),
        };
        let mut receiver = None;
        let mut arguments = Vec::new();
        for input in &signature.inputs {
            match input {
                FnArg::Receiver(this) => receiver = Some(this.self_token.span),
                FnArg::Typed(argument) => match &*argument.pat {
                    Pat::Ident(pattern) if pattern.subpat.is_none() && pattern.by_ref.is_none() => {
                        arguments.push(Argument {
                            name: pattern.ident.clone(),
                            pattern: pattern.to_token_stream(),
                            kind: (*argument.ty).clone(),
                        });
                    }
                    pattern => {
                        return Err(Error::new_spanned(
                            pattern,
                            "expected an argument with a name, because the name is used in the key",
                        ));
                    }
                },
            }
        }
        Ok(Self {
            item,
            arguments,
            output,
            receiver,
        })
    }
}

const NO_RESULT: &str =
    "expected a function that returns a `Result`, because a cache can fail; an outage is never a miss";

/// Returns whether a type's name ends in `Result`, as `io::Result<T>` does.
fn is_result(output: &Type) -> bool {
    match output {
        Type::Path(path) => {
            let last = path.path.segments.last();
            last.is_some_and(|last| last.ident.to_string().ends_with("Result"))
        }
        Type::Group(group) => is_result(&group.elem),
        Type::Paren(paren) => is_result(&paren.elem),
        _ => false,
    }
}
