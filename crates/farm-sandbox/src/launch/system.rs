//! What every command sees of the system, from the host and made up.

use std::path::PathBuf;

/// Files that programs look for, the same on every host.
pub(super) const ETC: [(&str, &[u8]); 4] = [
    (
        "passwd",
        b"root:x:0:0:root:/nonexistent:/usr/sbin/nologin\npatchfarm:x:1000:1000:patchfarm:/tmp/home:/bin/sh\n",
    ),
    ("group", b"root:x:0:\npatchfarm:x:1000:\n"),
    ("hosts", b"127.0.0.1 localhost patchfarm\n::1 localhost\n"),
    ("nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files\n"),
];

/// The parts of the host's system that every command sees, read-only. Nothing of `/root`, `/home`, `/var`, `/run`.
#[derive(Debug)]
pub(crate) struct SystemPaths {
    pub(super) binds: Vec<PathBuf>,
    /// (target, link): `/bin` is a link into `/usr` on today's systems.
    pub(super) links: Vec<(PathBuf, PathBuf)>,
}

impl SystemPaths {
    pub(crate) fn find() -> SystemPaths {
        const FOLDERS: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
        const ETC: [&str; 13] = [
            "/etc/alternatives",
            "/etc/ca-certificates",
            "/etc/crypto-policies",
            "/etc/ld.so.cache",
            "/etc/ld.so.conf",
            "/etc/ld.so.conf.d",
            "/etc/localtime",
            "/etc/mime.types",
            "/etc/pki/ca-trust/extracted",
            "/etc/pki/tls/certs",
            "/etc/protocols",
            "/etc/ssl/certs",
            "/etc/ssl/openssl.cnf",
        ];
        let mut paths = SystemPaths { binds: Vec::new(), links: Vec::new() };
        for folder in FOLDERS.map(PathBuf::from) {
            match std::fs::read_link(&folder) {
                Ok(target) => paths.links.push((target, folder)),
                Err(_) if folder.is_dir() => paths.binds.push(folder),
                // This system has none.
                Err(_) => {}
            }
        }
        paths.binds.extend(ETC.into_iter().map(PathBuf::from).filter(|path| path.exists()));
        paths
    }
}
