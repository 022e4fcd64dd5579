/*
 * filter.c - a filter made with libmilter, which does what the sender says.
 *
 *	filter SOCKET REPORT [STEP-ACTION]
 *
 * The sender's local part, or for connect and helo the last argument, is
 * "STEP-ACTION": connect, helo, mail, rcpt, data, header, eoh, body or eom;
 * reject, tempfail, accept, discard, reply, multi, skip, and at eom add,
 * insert, change, delete, many, quarantine, body, progress. What it is told
 * goes to REPORT, a line each.
 */
#include <libmilter/mfapi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static FILE *report;
static char *always = "";

static void
tell(const char *what, const char *value)
{
	fprintf(report, "%s ", what);
	for (; value != NULL && *value != '\0'; value++)
		if (*value == '\n')
			fprintf(report, "\\n");
		else if (*value == '\r')
			fprintf(report, "\\r");
		else
			fputc(*value, report);
	fputc('\n', report);
	fflush(report);
}

static void
tell_macro(SMFICTX *ctx, char *name)
{
	char what[40];
	const char *value = smfi_getsymval(ctx, name);

	snprintf(what, sizeof(what), "macro %s", name);
	if (value != NULL)
		tell(what, value);
}

static const char *
order(SMFICTX *ctx)
{
	const char *own = smfi_getpriv(ctx);

	return own != NULL ? own : always;
}

static sfsistat
act(SMFICTX *ctx, const char *step)
{
	const char *action = order(ctx);
	size_t len = strlen(step);

	if (strncmp(action, step, len) != 0 || action[len] != '-')
		return SMFIS_CONTINUE;
	action += len + 1;
	if (strcmp(action, "reject") == 0)
		return SMFIS_REJECT;
	if (strcmp(action, "tempfail") == 0)
		return SMFIS_TEMPFAIL;
	if (strcmp(action, "accept") == 0)
		return SMFIS_ACCEPT;
	if (strcmp(action, "discard") == 0)
		return SMFIS_DISCARD;
	if (strcmp(action, "skip") == 0)
		return SMFIS_SKIP;
	if (strcmp(action, "reply") == 0) {
		smfi_setreply(ctx, "554", "5.7.13", "At 100%% no");
		return SMFIS_REJECT;
	}
	if (strcmp(action, "multi") == 0) {
		smfi_setmlreply(ctx, "451", "4.7.9", "one", "two", NULL);
		return SMFIS_TEMPFAIL;
	}
	return SMFIS_CONTINUE;
}

static sfsistat
on_connect(SMFICTX *ctx, char *name, _SOCK_ADDR *address)
{
	tell("connect", name);
	tell("address", address == NULL ? "none"
	    : address->sa_family == AF_INET ? "ipv4" : "ipv6");
	tell_macro(ctx, "j");
	tell_macro(ctx, "_");
	tell_macro(ctx, "{client_addr}");
	return act(ctx, "connect");
}

static sfsistat
on_helo(SMFICTX *ctx, char *name)
{
	tell("helo", name);
	tell_macro(ctx, "{tls_version}");
	tell_macro(ctx, "{cipher}");
	return act(ctx, "helo");
}

static sfsistat
on_mail(SMFICTX *ctx, char **arguments)
{
	char *local = strdup(arguments[0] + 1);

	local[strcspn(local, "@>")] = '\0';
	smfi_setpriv(ctx, local);
	tell("mail", arguments[0]);
	tell_macro(ctx, "i");
	tell_macro(ctx, "{auth_type}");
	tell_macro(ctx, "{auth_authen}");
	tell_macro(ctx, "{mail_addr}");
	return act(ctx, "mail");
}

static sfsistat
on_rcpt(SMFICTX *ctx, char **arguments)
{
	tell("rcpt", arguments[0]);
	tell_macro(ctx, "{rcpt_addr}");
	/* One of them, where there are others. */
	if (strncmp(arguments[0], "<fine@", 6) == 0)
		return SMFIS_CONTINUE;
	return act(ctx, "rcpt");
}

static sfsistat
on_data(SMFICTX *ctx)
{
	tell("data", "");
	return act(ctx, "data");
}

static sfsistat
on_header(SMFICTX *ctx, char *name, char *value)
{
	tell(name, value);
	return act(ctx, "header");
}

static sfsistat
on_eoh(SMFICTX *ctx)
{
	tell("eoh", "");
	return act(ctx, "eoh");
}

static sfsistat
on_body(SMFICTX *ctx, unsigned char *body, size_t len)
{
	char text[80];

	snprintf(text, sizeof(text), "%.*s", len < 60 ? (int)len : 60,
	    (char *)body);
	tell("body", text);
	return act(ctx, "body");
}

static sfsistat
on_eom(SMFICTX *ctx)
{
	const char *action = order(ctx);

	tell("eom", "");
	if (strcmp(action, "eom-add") == 0)
		smfi_addheader(ctx, "X-Added", "one\n\ttwo");
	else if (strcmp(action, "eom-insert") == 0) {
		smfi_insheader(ctx, 0, "X-Top", "0");
		smfi_insheader(ctx, 2, "X-Second", "2");
	} else if (strcmp(action, "eom-change") == 0)
		smfi_chgheader(ctx, "x-twice", 2, "changed");
	else if (strcmp(action, "eom-delete") == 0)
		smfi_chgheader(ctx, "X-Twice", 1, NULL);
	else if (strcmp(action, "eom-many") == 0) {
		smfi_addheader(ctx, "X-Many", "1");
		smfi_chgheader(ctx, "X-Many", 1, "2");
		smfi_chgheader(ctx, "Subject", 1, "new");
		smfi_insheader(ctx, 1, "X-First", "3");
		smfi_chgheader(ctx, "X-Twice", 2, NULL);
	} else if (strcmp(action, "eom-quarantine") == 0)
		smfi_quarantine(ctx, "suspect");
	else if (strcmp(action, "eom-body") == 0)
		smfi_replacebody(ctx, (unsigned char *)"new\r\n", 5);
	else if (strcmp(action, "eom-progress") == 0)
		for (int i = 0; i < 3; i++) {
			smfi_progress(ctx);
			usleep(50000);
		}
	return act(ctx, "eom");
}

static sfsistat
on_abort(SMFICTX *ctx)
{
	(void)ctx;
	tell("abort", "");
	return SMFIS_CONTINUE;
}

static sfsistat
on_close(SMFICTX *ctx)
{
	free(smfi_getpriv(ctx));
	smfi_setpriv(ctx, NULL);
	tell("close", "");
	return SMFIS_CONTINUE;
}

int
main(int argc, char **argv)
{
	struct smfiDesc filter = {
		"test", SMFI_VERSION,
		/* More than is offered fails with libmilter: FILTER_ALL
		 * tries. */
		getenv("FILTER_ALL") != NULL ? SMFIF_ADDHDRS | SMFIF_CHGHDRS |
		    SMFIF_QUARANTINE | SMFIF_CHGBODY
		    : SMFIF_ADDHDRS | SMFIF_CHGHDRS,
		on_connect, on_helo, on_mail, on_rcpt, on_header, on_eoh,
		on_body, on_eom, on_abort, on_close, NULL, on_data, NULL
	};
	char address[200];

	if (argc < 3)
		return 64;
	report = fopen(argv[2], "a");
	if (argc > 3)
		always = argv[3];
	snprintf(address, sizeof(address), "%s", argv[1]);
	if (report == NULL || smfi_setconn(address) != MI_SUCCESS ||
	    smfi_register(filter) != MI_SUCCESS)
		return 1;
	return smfi_main();
}
