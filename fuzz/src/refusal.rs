//! What every refusal has to be: about the request, short, and of a form that clients can read.

use common::wire::WireError;

/// Characters of a refusal's sentence at most. Clients print the first 400 of the body.
const LONGEST: usize = 400;

/// Panics unless the error blames the client in a short sentence, and answers with JSON.
pub fn check(error: &WireError) {
    assert!(error.status().is_client_error(), "{error} is answered with {}", error.status());
    let detail = error.to_string();
    assert!(!detail.is_empty() && detail.chars().count() <= LONGEST, "{} characters: {detail}", detail.len());
    let body: serde_json::Value = serde_json::from_slice(&error.body("r")).expect("the body is JSON");
    assert_eq!(body["error"], error.code());
    assert_eq!(body["detail"], detail);
}
