//! HMAC-SHA-256 for tokens. jsonwebtoken's own choices of cryptography sign in a dozen ways, and every function would carry
//! RSA and elliptic curves that no token of the hub's has.

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{Error as SignatureError, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use sha2::Sha256;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(Hs256::new(*algorithm, key.family(), key.as_bytes())?)),
    verifier_factory: |algorithm, key| Ok(Box::new(Hs256::new(*algorithm, key.family(), key.try_get_as_bytes()?)?)),
    // No keys are read from or written as JSON.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes this the cryptography of all tokens in the process. The first call does, and no other does anything.
pub(super) fn install() {
    // It fails when it is installed already.
    PROVIDER.install_default().ok();
}

struct Hs256(Hmac<Sha256>);

impl Hs256 {
    fn new(algorithm: Algorithm, family: AlgorithmFamily, secret: &[u8]) -> Result<Self, Error> {
        if algorithm != Algorithm::HS256 {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        if family != AlgorithmFamily::Hmac {
            return Err(ErrorKind::InvalidKeyFormat.into());
        }
        let keyed = Hmac::new_from_slice(secret).map_err(|_| ErrorKind::InvalidKeyFormat)?;
        Ok(Self(keyed))
    }

    fn over(&self, message: &[u8]) -> Hmac<Sha256> {
        self.0.clone().chain_update(message)
    }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        Ok(self.over(message).finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        // In constant time, and only at full length.
        self.over(message).verify_slice(signature).map_err(SignatureError::from_source)
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    use jsonwebtoken::{DecodingKey, EncodingKey};

    // The key and the token of RFC 7515, appendix A.1.
    const KEY: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    const MESSAGE: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                           eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const SIGNATURE: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    #[test]
    fn the_signature_is_that_of_rfc_7515_and_no_other_is_taken() {
        install();
        let key = BASE64.decode(KEY).unwrap();
        let (encoding, decoding) = (EncodingKey::from_secret(&key), DecodingKey::from_secret(&key));
        let signed = jsonwebtoken::crypto::sign(MESSAGE.as_bytes(), &encoding, Algorithm::HS256);
        assert_eq!(signed.unwrap(), SIGNATURE);
        let is_taken = |signature: &str| {
            jsonwebtoken::crypto::verify(signature, MESSAGE.as_bytes(), &decoding, Algorithm::HS256).unwrap()
        };
        assert!(is_taken(SIGNATURE));
        assert!(!is_taken(""));
        assert!(!is_taken(&SIGNATURE[..40]));
        assert!(!is_taken(&SIGNATURE.replacen('d', "e", 1)));
    }

    #[test]
    fn no_other_algorithm_signs_or_verifies() {
        install();
        let (encoding, decoding) = (EncodingKey::from_secret(b"secret"), DecodingKey::from_secret(b"secret"));
        for algorithm in [Algorithm::HS384, Algorithm::HS512, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
            assert!(jsonwebtoken::crypto::sign(b"message", &encoding, algorithm).is_err());
            assert!(jsonwebtoken::crypto::verify("", b"message", &decoding, algorithm).is_err());
        }
    }
}
