//! Construction of stored keys from namespaces.

/// Returns `{project}:{prefix}:{key}`, without empty segments and their colons.
///
/// ```
/// use codex_kv::namespaced_key;
///
/// assert_eq!(namespaced_key("shop", "session", "k"), "shop:session:k");
/// assert_eq!(namespaced_key("shop", "", "k"), "shop:k");
/// assert_eq!(namespaced_key("", "", "k"), "k");
/// ```
///
/// A colon inside a segment is not escaped, so segments with colons can collide: `"a:b"` and `"c"`
/// give the same result as `"a"` and `"b:c"`.
pub fn namespaced_key(project: &str, prefix: &str, key: &str) -> String {
    let mut joined = String::with_capacity(project.len() + prefix.len() + key.len() + 2);
    for segment in [project, prefix, key] {
        if !segment.is_empty() {
            if !joined.is_empty() {
                joined.push(':');
            }
            joined.push_str(segment);
        }
    }
    joined
}
