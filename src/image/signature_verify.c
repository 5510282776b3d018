/* The cryptography of signatures is others': OpenSSL for cosign's, gpg for simple signing. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/policy.h"
#include "io/child.h"
#include "os/path.h"

#define GPG            "/usr/bin/gpg"
#define GPG_TIMEOUT_MS 30000
#define GPG_OUTPUT_MAX (1u << 20)

/* --- a public key --- */

static EVP_PKEY *read_key(const void *pem, size_t len)
{
	BIO *bio = len <= POLICY_KEY_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
	EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	return key;
}

int signature_verify_key(const void *key_pem, size_t key_len, const void *payload, size_t len,
			 const void *sig, size_t sig_len, struct err *e)
{
	EVP_PKEY *key = read_key(key_pem, key_len);

	if (!key) {
		ERR_clear_error();
		return err_set(e, ERR_POLICY_FORMAT, -EINVAL,
			       "the policy's key is no public key in PEM form");
	}
	/* Ed25519 has its own hash */
	const EVP_MD *md = EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool good = ctx && EVP_DigestVerifyInit(ctx, NULL, md, NULL, key) == 1 &&
		    EVP_DigestVerify(ctx, sig, sig_len, payload, len) == 1;

	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return good ? 0
		    : err_set(e, ERR_POLICY_REJECTED, -EACCES,
			      "its signature is not of the policy's key");
}

/* --- GPG --- */

struct gpg {
	char *home; /* a path of its own, so that nobody's keyring or settings count */
};

static int run_gpg(const struct gpg *g, const char *const *verb, const struct buf *input,
		   struct buf *output, struct buf *status, int *ret_status, struct err *e)
{
	const char *argv[24] = {"gpg",
				"--homedir",
				g->home,
				"--batch",
				"--no-tty",
				"--no-options",
				"--no-autostart",
				"--trust-model",
				"always",
				"--status-fd",
				"2",
				"--log-file",
				"/dev/null"};
	size_t n = 13;
	struct child_spec spec = {
	    .path = GPG, .argv = argv, .envp = (const char *const[]){"LC_ALL=C", NULL}};
	struct child_io io = {.input = buf_str(input),
			      .input_len = input->len,
			      .out = output,
			      .err = status,
			      .max_bytes = GPG_OUTPUT_MAX,
			      .timeout_ms = GPG_TIMEOUT_MS};

	while (*verb)
		argv[n++] = *verb++;
	if (!path_exists(AT_FDCWD, GPG))
		return err_set(e, ERR_POLICY_REJECTED, -ENOENT,
			       "a GPG signature is wanted, and '" GPG "' is not installed");
	int rc = child_run(&spec, &io, ret_status, e);

	return rc ? err_prefix(e, "gpg: ") : 0;
}

/* How many status lines ("[GNUPG:] WORD …": GnuPG, doc/DETAILS) have one of these words. */
static unsigned count_status(const struct buf *status, const char *const *words)
{
	unsigned count = 0;
	_free_ char *copy = mem_strdup(buf_str(status));
	char *rest = copy;

	for (char *line; (line = strsep(&rest, "\n"));) {
		const char *text = str_after(line, "[GNUPG:] ");

		for (size_t i = 0; text && words[i]; i++) {
			const char *behind = str_after(text, words[i]);

			count += behind && (!*behind || *behind == ' ');
		}
	}
	return count;
}

/* One signature, and that one valid; nothing encrypted, no key that has expired or was revoked. */
static bool is_good(const struct buf *status)
{
	static const char *const valid[] = {"VALIDSIG", NULL}, *const good[] = {"GOODSIG", NULL},
				 *const new[] = {"NEWSIG", NULL};
	static const char *const bad[] = {
	    "BADSIG",          "ERRSIG",          "EXPSIG", "EXPKEYSIG", "REVKEYSIG",
	    "DECRYPTION_OKAY", "DECRYPTION_INFO", "NODATA", "ENC_TO",    NULL};

	return count_status(status, valid) == 1 && count_status(status, good) == 1 &&
	       count_status(status, new) == 1 && count_status(status, bad) == 0;
}

static int verify(const struct gpg *g, const struct buf *keys, const struct buf *message,
		  struct buf *payload, struct err *e)
{
	static const char *const import[] = {"--import", NULL};
	static const char *const check[] = {"--output", "-", "--decrypt", NULL};
	static const char *const imported[] = {"IMPORT_OK", NULL};
	_buf_ struct buf nothing = {0}, import_status = {0}, status = {0};
	int code, rc = run_gpg(g, import, keys, &nothing, &import_status, &code, e);

	if (rc)
		return rc;
	if (!count_status(&import_status, imported))
		return err_set(e, ERR_POLICY_FORMAT, -EINVAL, "the policy's key is no GPG key");
	rc = run_gpg(g, check, message, payload, &status, &code, e);
	if (rc)
		return rc;
	if (code || !is_good(&status))
		return err_set(e, ERR_POLICY_REJECTED, -EACCES,
			       "its signature is not of a key that the policy names, or that key "
			       "has expired");
	return 0;
}

int signature_verify_gpg(struct image_store *s, const struct buf *keys, const struct buf *message,
			 struct buf *payload, struct err *e)
{
	_free_ char *name = NULL;
	int rc = image_store_temp_name(s, "gpg", &name, e);

	if (rc)
		return rc;
	_free_ char *home = mem_printf("%s/%s", image_store_path(s), name);
	struct gpg g = {home};

	rc = path_mkdir(AT_FDCWD, home, 0700);
	if (rc)
		return err_set(e, ERR_IMG_STORE, rc, "cannot make '%s': %s", home, strerror(-rc));
	rc = verify(&g, keys, message, payload, e);
	path_remove_tree(AT_FDCWD, home);
	return rc;
}
