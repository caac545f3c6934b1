//! Doctests of documentation that needs more than the facade: guides, and the examples of `web`,
//! which need axum.

#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../docs/testing-without-redis.md")]
    struct TestingWithoutRedis;

    #[doc = include_str!("../../docs/from-django.md")]
    struct FromDjango;

    #[doc = include_str!("../../src/web/module_example.md")]
    struct Web;

    #[doc = include_str!("../../src/web/axum_example.md")]
    struct SessionLayer;
}
