//! Stored keys, put together from the names of their owner.

/// Returns `{project}:{prefix}:{key}`, with what is empty left out together with its colon.
///
/// ```
/// use codex_kv::namespaced_key;
///
/// assert_eq!(namespaced_key("shop", "session", "k"), "shop:session:k");
/// assert_eq!(namespaced_key("shop", "", "k"), "shop:k");
/// assert_eq!(namespaced_key("", "", "k"), "k");
/// ```
///
/// A colon inside a segment stays as it is: segments that may hold colons can meet (`"a:b"` and
/// `"c"`, `"a"` and `"b:c"`).
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
