//! The texts that say which account, and which token.

use super::shape::{text, text_schema};

text!(
    /// The base URL of an Upstash region.
    ConnectionUrlText,
    text_schema(
        1,
        2048,
        &[
            (
                "self.matches('^https?://[!-~]+$') && isURL(self) && url(self).getHostname() != ''",
                "the value must be an http:// or https:// URL",
            ),
            ("!self.matches('[@?#]')", "a base URL must have no user, query or fragment"),
        ]
    )
);

text!(
    /// The name of a Secret in the policy's namespace.
    SecretNameText,
    text_schema(
        1,
        253,
        &[(
            "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
            "the value must be the name of a Secret: lower-case letters, digits, - and . only",
        )]
    )
);

text!(
    /// The name of a `DlqConnection` or `ClusterDlqConnection`.
    ConnectionNameText,
    text_schema(
        1,
        253,
        &[(
            "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
            "the value must be the name of a connection: lower-case letters, digits, - and . only",
        )]
    )
);

text!(
    /// The name of a namespace.
    NamespaceText,
    text_schema(
        1,
        63,
        &[(
            "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "the value must be the name of a namespace: lower-case letters, digits and - only",
        )]
    )
);

text!(
    /// A base URL, perhaps with `*` for a part of one host label.
    UrlPatternText,
    text_schema(
        1,
        2048,
        &[
            (
                // No slash after the host but at the end.
                "self.matches('^https?://[!-.0-~]+/?$') && isURL(self.replace('*', 'x')) && url(self.replace('*', 'x')).getHostname() != ''",
                "the value must be an http:// or https:// URL: scheme, host and port only",
            ),
            ("!self.matches('[@?#]')", "a base URL must have no user, query or fragment"),
        ]
    )
);

text!(
    /// A key of a Secret.
    SecretKeyText,
    text_schema(1, 253, &[("self.matches('^[-._a-zA-Z0-9]+$')", "the value must be a key of a Secret: letters, digits, -, _ and . only")])
);
