"""Debian's OpenSMTPD, whole, as a client of smtp-handler and as its next
hop."""

import shlex

from certs import certificates
from frontdoor import preload
from installed import Installed
from mailtest import free_port

# Its folders are compiled in.
PREPARE = """\
echo 'lookup file' >resolv.conf
[ ! -e /etc/resolv.conf ] || mount --bind resolv.conf /etc/resolv.conf
for folder in /var/spool /var/lib /run; do
	mount -t tmpfs -o mode=755 tmpfs $folder
done
mkdir -p -m 711 /var/lib/opensmtpd/empty /var/spool/smtpd
mkdir mail
chown 64922:64922 mail
"""

# Debian 12's was made for OpenSSL 1.1: with 3, the key that it marks as one
# of its other process's is a copy, and no handshake as a server succeeds
# (OpenSMTPD issue 1171).  This is what its next version does about it.
KEY_SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

struct evp_pkey_st;
struct rsa_st;
int EVP_PKEY_set1_RSA(struct evp_pkey_st *, struct rsa_st *);

struct rsa_st *
EVP_PKEY_get1_RSA(struct evp_pkey_st *key)
{
	struct rsa_st *(*real)(struct evp_pkey_st *) =
	    dlsym(RTLD_NEXT, "EVP_PKEY_get1_RSA");
	struct rsa_st *rsa = real(key);

	if (rsa != NULL)
		EVP_PKEY_set1_RSA(key, rsa);
	return rsa;
}
"""


class OpenSmtpd(Installed):
    """Takes mail on port in the clear; config: what else it is told.  There
    MAIL is a folder that the user vmail may write to.  ca: the certificate
    it trusts as a client."""

    package = "opensmtpd"
    users = {"opensmtpd": 64920, "opensmtpq": 64921, "vmail": 64922}
    prepare = PREPARE

    def __init__(self, test, config, ca=None):
        super().__init__(test)
        # Without CAs of its machine's it does not start
        ca = shlex.quote(str(ca or certificates().ca.crt))
        self.prepare += ("mkdir -p /etc/ssl/certs\n"
                         "mount -t tmpfs tmpfs /etc/ssl/certs\n"
                         f"cp {ca} /etc/ssl/certs/ca-certificates.crt\n")
        self.port = free_port()
        self.mail = self.work / "mail"
        path = self.work / "smtpd.conf"
        path.write_text(f"listen on 127.0.0.1 port {self.port}\n"
                        + config.replace("MAIL", str(self.mail)))
        path.chmod(0o600)
        shim = preload("key_shim", KEY_SHIM)["LD_PRELOAD"]
        self.start("env", f"LD_PRELOAD={shim}", "smtpd", "-d", "-v", "-f",
                   path)

    def ready(self):
        return "smtp: will accept" in self.log()
