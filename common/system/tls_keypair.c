/*
 * tls_keypair.c - tells apart what libtls calls "failed to load private key".
 */
#include "system/tls_keypair.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Asked for a passphrase: nobody is there to type one. */
static int
no_passphrase(char *out, int size, int writing, void *asked)
{
	(void)out;
	(void)size;
	(void)writing;
	*(bool *)asked = true;
	return -1;
}

/* The first certificate, or NULL. */
static X509 *
read_certificate(const char *path)
{
	bool asked = false;
	FILE *file = fopen(path, "re");
	X509 *x509 = file == NULL ? NULL
	    : PEM_read_X509(file, NULL, no_passphrase, &asked);

	if (file != NULL)
		fclose(file);
	return x509;
}

static EVP_PKEY *
read_key(const char *path, bool *asked)
{
	FILE *file = fopen(path, "re");
	EVP_PKEY *key = file == NULL ? NULL
	    : PEM_read_PrivateKey(file, NULL, no_passphrase, asked);

	if (file != NULL)
		fclose(file);
	return key;
}

static bool
is_readable(const char *path)
{
	FILE *file = fopen(path, "re");

	if (file != NULL)
		fclose(file);
	return file != NULL;
}

/* What is wrong with the key, or with the pair; the certificate is good. */
static int
explain_key(X509 *x509, const char *cert, const char *path,
    struct error *error)
{
	bool asked = false;
	EVP_PKEY *key = read_key(path, &asked);
	X509 *other = key == NULL ? read_certificate(path) : NULL;
	bool is_certificate = other != NULL;
	bool fits = key != NULL && X509_check_private_key(x509, key) == 1;

	X509_free(other);
	EVP_PKEY_free(key);
	path = error_tail(path, 120);
	if (fits)
		return 0;
	if (asked)
		return error_set(error, ERROR_CONFIG, "--tls-key %s has a "
		    "passphrase, which nobody is there to type: openssl pkey "
		    "-in KEY -out NEW-KEY makes one without", path);
	if (is_certificate)
		return error_set(error, ERROR_CONFIG, "--tls-key %s is a "
		    "certificate: its private key belongs there", path);
	if (key == NULL)
		return error_set(error, ERROR_CONFIG, "--tls-key %s: there is "
		    "no private key in PEM form in it", path);
	return error_set(error, ERROR_CONFIG, "--tls-key %s is not the key of "
	    "--tls-cert %s: each certificate needs the key that it was made "
	    "with", path, error_tail(cert, 120));
}

int
tls_keypair_explain(const char *cert, const char *key, struct error *error)
{
	bool asked = false;
	X509 *x509 = read_certificate(cert);

	if (x509 != NULL) {
		int result = is_readable(key) ? explain_key(x509, cert, key,
		    error) : 0;

		X509_free(x509);
		return result;
	}
	if (!is_readable(cert))
		return 0;
	EVP_PKEY *first = read_key(cert, &asked);
	bool exchanged = first != NULL || asked;

	EVP_PKEY_free(first);
	return error_set(error, ERROR_CONFIG, exchanged ? "--tls-cert %s is a "
	    "private key: the certificate belongs there, and the key to "
	    "--tls-key" : "--tls-cert %s: there is no certificate in PEM form "
	    "in it", error_tail(cert, 120));
}

int
tls_keypair_check_dates(const char *cert, struct error *error)
{
	X509 *x509 = read_certificate(cert);
	int result = 0;

	if (x509 == NULL)
		return 0;
	if (X509_cmp_current_time(X509_get0_notAfter(x509)) < 0)
		result = error_set(error, ERROR_CONFIG, "--tls-cert %s has "
		    "expired: clients refuse it until there is a new one",
		    error_tail(cert, 120));
	else if (X509_cmp_current_time(X509_get0_notBefore(x509)) > 0)
		result = error_set(error, ERROR_CONFIG, "--tls-cert %s does "
		    "not hold yet: is the clock of this machine right?",
		    error_tail(cert, 120));
	X509_free(x509);
	return result;
}
