//! What a file says of who a client of NATS is.
//!
//! Pure. What is wrong with it is said without a word of what it holds.

use data_encoding::BASE32_NOPAD;

use super::secret::Secret;

/// How many bytes the seed of an nkey has.
const SEED: usize = 32;
/// The first byte of the public key of a user.
const USER: u8 = 20 << 3;
/// The first byte of a seed, whose last bits begin the next one.
const SEED_OF_USER: [u8; 2] = [(18 << 3) | (USER >> 5), USER << 3];

/// Who a client of NATS is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NatsLogin {
    /// A user with a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A key.
    Key(NkeySeed),
    /// A key for which an operator has signed.
    Signed {
        /// What the operator has signed.
        jwt: Secret,
        /// The key.
        seed: NkeySeed,
    },
}

/// The private key of a user.
#[derive(Clone, PartialEq, Eq)]
pub struct NkeySeed(pub [u8; SEED]);

impl std::fmt::Debug for NkeySeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl NatsLogin {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        let jwt = between(text, "NATS USER JWT");
        let seed = between(text, "USER NKEY SEED");
        match (jwt, seed) {
            (Some(jwt), Some(seed)) => {
                let is_jwt = jwt.split('.').count() == 3 && jwt.bytes().all(is_of_jwt);
                if !is_jwt {
                    return Err("what stands between the lines of its JWT is none");
                }
                let jwt = Secret::from(jwt.to_owned());
                return Ok(Self::Signed { jwt, seed: NkeySeed::read(seed)? });
            }
            (Some(_), None) => return Err("it has a JWT and no `USER NKEY SEED`"),
            (None, Some(seed)) => return Ok(Self::Key(NkeySeed::read(seed)?)),
            (None, None) => {}
        }
        let mut lines = text.lines().map(str::trim);
        let mut lines = lines.by_ref().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err("it is neither a file of `nsc`, nor one line");
        };
        if let Some((user, password)) = line.split_once(':') {
            if user.is_empty() || password.is_empty() {
                return Err("the user or the password before or after its `:` is empty");
            }
            let password = Secret::from(password.to_owned());
            return Ok(Self::Password { user: user.to_owned(), password });
        }
        Ok(Self::Key(NkeySeed::read(line)?))
    }
}

impl NkeySeed {
    fn read(text: &str) -> Result<Self, &'static str> {
        const BAD: &str =
            "its seed is not that of a user, which begins with `SU` and has 58 letters";
        let bytes = BASE32_NOPAD.decode(text.as_bytes()).map_err(|_| BAD)?;
        let Some((bytes, sum)) = bytes.split_last_chunk::<2>() else { return Err(BAD) };
        if crc16(bytes) != u16::from_le_bytes(*sum) {
            return Err("its seed has a letter wrong");
        }
        match bytes.split_first_chunk::<2>() {
            Some((&SEED_OF_USER, seed)) => Ok(Self(seed.try_into().map_err(|_| BAD)?)),
            _ => Err(BAD),
        }
    }

    /// Returns the name of the user with this public key.
    #[cfg(any(test, feature = "nats"))]
    pub fn name(public: &[u8]) -> String {
        let mut bytes = vec![USER];
        bytes.extend(public);
        bytes.extend(crc16(&bytes).to_le_bytes());
        BASE32_NOPAD.encode(&bytes)
    }
}

fn is_of_jwt(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// Returns the line after that with `BEGIN` and this name.
fn between<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let begins = format!("BEGIN {name}-");
    let mut lines = text.lines().skip_while(|line| !line.contains(&begins)).skip(1);
    lines.find(|line| !line.trim().is_empty()).map(str::trim).filter(|line| !line.starts_with('-'))
}

/// CRC-16 of XMODEM, by which nkeys find a wrong letter.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ (u16::from(*byte) << 8), |sum, _| {
            if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the documentation of nkeys, used nowhere.
    fn seed() -> String {
        let mut bytes = SEED_OF_USER.to_vec();
        bytes.extend(0..32);
        bytes.extend(crc16(&bytes).to_le_bytes());
        BASE32_NOPAD.encode(&bytes)
    }

    #[test]
    fn a_password_a_seed_and_a_file_of_nsc_are_read() {
        let password = NatsLogin::read("# front\n front:hunter:2 \n");
        let expected =
            NatsLogin::Password { user: "front".into(), password: "hunter:2".to_owned().into() };
        assert_eq!(password, Ok(expected));
        let (seed, bytes) = (seed(), std::array::from_fn(|at| at as u8));
        assert!(seed.starts_with("SU") && seed.len() == 58, "{seed}");
        assert_eq!(NatsLogin::read(&seed), Ok(NatsLogin::Key(NkeySeed(bytes))));
        let file = format!(
            "-----BEGIN NATS USER JWT-----\neyJ0.eyJq.s-_g\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        let jwt = "eyJ0.eyJq.s-_g".to_owned().into();
        assert_eq!(NatsLogin::read(&file), Ok(NatsLogin::Signed { jwt, seed: NkeySeed(bytes) }));
    }

    #[test]
    fn what_is_wrong_is_said_without_what_it_is() {
        let seed = seed();
        let other = format!("{}A", &seed[..57]);
        for (text, why) in [
            ("", "nor one line"),
            ("a\nb", "nor one line"),
            ("hunter2", "begins with `SU`"),
            (":hunter2", "is empty"),
            ("front:", "is empty"),
            (other.as_str(), "a letter wrong"),
            ("-----BEGIN NATS USER JWT-----\nhunter2\n-----END", "no `USER NKEY SEED`"),
            ("-----BEGIN USER NKEY SEED-----\nhunter2\n", "begins with `SU`"),
        ] {
            let error = NatsLogin::read(text).expect_err(text);
            assert!(error.contains(why) && !error.contains("hunter2"), "{error}");
        }
        let login = NatsLogin::read("front:hunter2").expect("a password");
        assert!(!format!("{login:?}").contains("hunter2"));
    }

    #[test]
    fn a_public_key_is_named_as_nats_names_it() {
        let name = NkeySeed::name(&[7; 32]);
        assert!(name.starts_with('U') && name.len() == 56, "{name}");
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }
}
