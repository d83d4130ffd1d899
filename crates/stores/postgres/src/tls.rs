//! TLS as the URL asks for it.
//!
//! Certificates are checked against the authorities that the system knows (those of `SSL_CERT_FILE` or `SSL_CERT_DIR` instead, where set), and
//! the one of `sslrootcert`.

use std::fs;

use rustls::CertificateError;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// What a file or text of certificates must hold.
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// The options with what the URL says of TLS made strict: whoever names an authority wants it asked, also with `sslmode=require` (as with
/// PostgreSQL's own clients), and an authority that cannot be read is an error now, not with each connection.
pub(crate) fn checked(options: PgConnectOptions, url: &str) -> Result<PgConnectOptions, String> {
    let names = ["sslrootcert", "ssl-root-cert", "ssl-ca"];
    let parsed = url::Url::parse(url).map_err(|error| error.to_string())?;
    let Some((_, root)) = parsed.query_pairs().find(|(name, _)| names.contains(&&**name)) else {
        return Ok(options);
    };
    let is_text = root.trim().starts_with("-----BEGIN");
    let text = if is_text {
        root.into_owned()
    } else {
        fs::read_to_string(&*root).map_err(|error| format!("sslrootcert: cannot read {root}: {error}"))?
    };
    if !text.contains(BEGIN) {
        return Err(format!(
            "sslrootcert: no certificate in it; it must hold PEM, with a line {BEGIN}"
        ));
    }
    Ok(match options.get_ssl_mode() {
        PgSslMode::Require => options.ssl_mode(PgSslMode::VerifyCa),
        _ => options,
    })
}

/// Why a handshake failed, with what to do about it.
pub(crate) fn advice(error: &rustls::Error) -> String {
    use CertificateError as Certificate;
    let rustls::Error::InvalidCertificate(reason) = error else {
        return error.to_string();
    };
    match reason {
        Certificate::UnknownIssuer => {
            "its certificate is from an authority that is not known here; name the authority's certificate with \
            sslrootcert=FILE in the URL"
                .to_owned()
        }
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => format!(
            "its certificate is for another host name ({reason}); put a name that it holds into the URL, or say sslmode=verify-ca, which takes \
             any name"
        ),
        Certificate::Expired
        | Certificate::ExpiredContext { .. }
        | Certificate::NotValidYet
        | Certificate::NotValidYetContext { .. } => {
            format!("its certificate is not valid now ({reason}); renew it, or set this machine's clock right")
        }
        other => format!(
            "its certificate is refused ({other}); one that signs itself cannot be checked: let an authority sign it, or say sslmode=require"
        ),
    }
}
