//! The cryptography under tokens: HMAC-SHA-256 for those that the hub signs itself, and [ring]'s verification for those of an
//! issuer. jsonwebtoken's own choices would link a second library: ring is there for TLS.
//!
//! What a key is decides what it verifies. A secret verifies HS256 and nothing else, an RSA key RS256, a key on P-256 ES256, one
//! on Curve25519 EdDSA. The token's header has no say: it is refused where it names another algorithm than its key's.

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{Error as SignatureError, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
    VerificationAlgorithm,
};
use sha2::Sha256;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(Hs256::new(*algorithm, key.family(), key.as_bytes())?)),
    verifier_factory: |algorithm, key| {
        Ok(match key.family() {
            AlgorithmFamily::Hmac => Box::new(Hs256::new(*algorithm, key.family(), key.try_get_as_bytes()?)?),
            AlgorithmFamily::Rsa | AlgorithmFamily::Ec | AlgorithmFamily::Ed => {
                Box::new(PublicKey::new(*algorithm, key)?)
            }
        })
    },
    // What these compute of keys is not asked for: keys come in as JSON, and none goes out.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes this the cryptography of all tokens in the process. The first call does, and no other does anything.
pub(super) fn install() {
    // It fails when it is installed already.
    PROVIDER.install_default().ok();
}

/// The one algorithm that public keys of a family verify here; none for secrets.
pub(super) const fn algorithm_of(family: AlgorithmFamily) -> Option<Algorithm> {
    match family {
        AlgorithmFamily::Hmac => None,
        AlgorithmFamily::Rsa => Some(Algorithm::RS256),
        AlgorithmFamily::Ec => Some(Algorithm::ES256),
        AlgorithmFamily::Ed => Some(Algorithm::EdDSA),
    }
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

/// The public key of an issuer, and the algorithm that it verifies.
struct PublicKey {
    algorithm: Algorithm,
    key: DecodingKeyKind,
}

impl PublicKey {
    fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Self, Error> {
        if algorithm_of(key.family()) != Some(algorithm) {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        Ok(Self { algorithm, key: key.kind().clone() })
    }
}

impl Verifier<Vec<u8>> for PublicKey {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        let verified = match (self.algorithm, &self.key) {
            // Of 2,048 to 8,192 bits, as RFC 7518, section 3.3, demands at least.
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
                verify(&ECDSA_P256_SHA256_FIXED, point, message, signature)
            }
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => verify(&ED25519, point, message, signature),
            _ => return Err(SignatureError::new()),
        };
        // ring does not say why.
        verified.map_err(|_| SignatureError::new())
    }
}

fn verify(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), ring::error::Unspecified> {
    UnparsedPublicKey::new(algorithm, key).verify(message, signature)
}

impl JwtVerifier for PublicKey {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
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
