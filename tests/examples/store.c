/*
 * store - mail comes in by SMTP, lies in an SQLite database, and goes out
 * again by POP3.
 *
 *	store DATABASE SMTP-PORT POP3-PORT
 *
 * The tables are made where they are missing. Who may have mail stands in
 * users (name, password); a name is what stands before the @.
 */
#include <mailhandlers.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>

#define SCHEMA \
	"CREATE TABLE IF NOT EXISTS users (name TEXT PRIMARY KEY," \
	" password TEXT NOT NULL);" \
	"CREATE TABLE IF NOT EXISTS mails (id INTEGER PRIMARY KEY" \
	" AUTOINCREMENT, owner TEXT NOT NULL REFERENCES users (name)," \
	" sender TEXT NOT NULL, octets INTEGER NOT NULL, text BLOB NOT NULL);"

static sqlite3 *db;
static volatile sig_atomic_t stopped;

/* A POP3 session's. */
struct drop {
	sqlite3_int64 *ids;
	uint64_t *octets;
	size_t n;
	sqlite3_blob *blob; /* the mail that is being sent */
	int sent;
};

static void
stop(int signal_number)
{
	stopped = signal_number;
}

static sqlite3_stmt *
prepare(const char *sql)
{
	sqlite3_stmt *statement = NULL;

	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
		fprintf(stderr, "store: %s\n", sqlite3_errmsg(db));
	return statement;
}

static void
bind_text(sqlite3_stmt *statement, int i, struct mh_text text)
{
	sqlite3_bind_text(statement, i, text.len > 0 ? text.data : "",
	    (int)text.len, SQLITE_TRANSIENT);
}

static struct mh_text
local_part(struct mh_text address)
{
	const char *at = memchr(address.data, '@', address.len);

	if (at != NULL)
		address.len = (size_t)(at - address.data);
	return address;
}

/* Is there such a user, with this password where there is one? */
static int
find_user(struct mh_text name, const struct mh_text *password)
{
	sqlite3_stmt *statement = prepare(password != NULL
	    ? "SELECT 1 FROM users WHERE name = ? AND password = ?"
	    : "SELECT 1 FROM users WHERE name = ?");
	int result;

	bind_text(statement, 1, name);
	if (password != NULL)
		bind_text(statement, 2, *password);
	result = sqlite3_step(statement);
	sqlite3_finalize(statement);
	return result;
}

static void
ask_user(const struct mh_event *event, struct mh_text name)
{
	switch (find_user(name, NULL)) {
	case SQLITE_ROW:
		mh_accept(event->session);
		break;
	case SQLITE_DONE:
		mh_refuse(event->session, MH_UNKNOWN, NULL);
		break;
	default:
		mh_refuse(event->session, MH_LATER, NULL);
		break;
	}
}

/* For each of its recipients, or for none. */
static void
keep(const struct mh_event *event)
{
	struct mh_session *session = event->session;
	sqlite3_stmt *statement = prepare("INSERT INTO mails (owner, sender,"
	    " octets, text) VALUES (?, ?, ?, ?)");
	int result = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);

	for (size_t i = 0; i < mh_recipients(session) && result == SQLITE_OK;
	    i++) {
		bind_text(statement, 1, local_part(mh_recipient(session, i)));
		bind_text(statement, 2, mh_get(session, MH_REVERSE_PATH));
		sqlite3_bind_int64(statement, 3, (sqlite3_int64)mh_measure(
		    event->text.data, event->text.len));
		sqlite3_bind_blob64(statement, 4, event->text.data,
		    event->text.len, SQLITE_STATIC);
		result = sqlite3_step(statement) == SQLITE_DONE
		    ? sqlite3_reset(statement) : SQLITE_ERROR;
	}
	sqlite3_finalize(statement);
	/* Accepted is what lies on disk. */
	if (result == SQLITE_OK)
		result = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	if (result == SQLITE_OK) {
		mh_accept(session);
		return;
	}
	sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	mh_refuse(session, sqlite3_errcode(db) == SQLITE_FULL ? MH_FULL
	    : MH_LATER, NULL);
}

static void
drop_free(struct drop *drop)
{
	if (drop == NULL)
		return;
	sqlite3_blob_close(drop->blob);
	free(drop->ids);
	free(drop->octets);
	free(drop);
}

static struct drop *
drop_new(struct mh_text owner)
{
	sqlite3_stmt *statement = prepare("SELECT id, octets FROM mails"
	    " WHERE owner = ? ORDER BY id");
	struct drop *drop = calloc(1, sizeof(*drop));

	bind_text(statement, 1, owner);
	while (drop != NULL && sqlite3_step(statement) == SQLITE_ROW) {
		drop->ids = realloc(drop->ids, (drop->n + 1) *
		    sizeof(*drop->ids));
		drop->octets = realloc(drop->octets, (drop->n + 1) *
		    sizeof(*drop->octets));
		if (drop->ids == NULL || drop->octets == NULL)
			abort();
		drop->ids[drop->n] = sqlite3_column_int64(statement, 0);
		drop->octets[drop->n++] = (uint64_t)sqlite3_column_int64(
		    statement, 1);
	}
	sqlite3_finalize(statement);
	return drop;
}

static void
log_in(const struct mh_event *event)
{
	struct drop *drop;

	if (find_user(event->user, &event->password) != SQLITE_ROW) {
		mh_refuse(event->session, MH_WRONG, NULL);
		return;
	}
	drop = drop_new(event->user);
	mh_set_data(event->session, drop);
	if (drop == NULL || mh_maildrop(event->session, drop->octets,
	    drop->n) < 0)
		mh_refuse(event->session, MH_LATER, NULL);
}

/* A piece of it, as much as there is room for. */
static void
send_mail(const struct mh_event *event)
{
	struct mh_session *session = event->session;
	struct drop *drop = mh_data(session);
	char piece[16384];

	if (drop->blob == NULL && sqlite3_blob_open(db, "main", "mails",
	    "text", drop->ids[event->index], 0, &drop->blob) != SQLITE_OK) {
		mh_refuse(session, MH_LATER, NULL);
		return;
	}
	for (;;) {
		int left = sqlite3_blob_bytes(drop->blob) - drop->sent;
		int n = left < (int)sizeof(piece) ? left : (int)sizeof(piece);
		int taken;

		if (n == 0 || sqlite3_blob_read(drop->blob, piece, n,
		    drop->sent) != SQLITE_OK) {
			mh_sent(session, n == 0);
			break;
		}
		taken = (int)mh_send(session, piece, (size_t)n);
		drop->sent += taken;
		if (taken < n)
			return; /* it asks again */
	}
	sqlite3_blob_close(drop->blob);
	drop->blob = NULL;
	drop->sent = 0;
}

static void
update(const struct mh_event *event)
{
	const struct drop *drop = mh_data(event->session);
	sqlite3_stmt *statement = prepare("DELETE FROM mails WHERE id = ?");
	int result = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);

	for (size_t i = 0; i < drop->n && result == SQLITE_OK; i++)
		if (mh_is_deleted(event->session, i)) {
			sqlite3_bind_int64(statement, 1, drop->ids[i]);
			sqlite3_step(statement);
			result = sqlite3_reset(statement);
		}
	sqlite3_finalize(statement);
	if (result == SQLITE_OK && sqlite3_exec(db, "COMMIT", NULL, NULL,
	    NULL) == SQLITE_OK) {
		mh_accept(event->session);
	} else {
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
		mh_refuse(event->session, MH_LATER, NULL);
	}
}

static void
serve(const struct mh_event *event)
{
	struct drop *drop = mh_data(event->session);
	char id[32];

	switch (event->type) {
	case MH_RECIPIENT:
		ask_user(event, local_part(event->address));
		break;
	case MH_MESSAGE:
		keep(event);
		break;
	case MH_LOGIN:
		log_in(event);
		break;
	case MH_UIDL:
		snprintf(id, sizeof(id), "%lld",
		    (long long)drop->ids[event->index]);
		mh_uidl(event->session, id);
		break;
	case MH_RETRIEVE:
		send_mail(event);
		break;
	case MH_UPDATE:
		update(event);
		break;
	case MH_CLOSED:
		drop_free(drop);
		break;
	default:
		mh_accept(event->session);
		break;
	}
}

int
main(int argc, char **argv)
{
	const struct mh_options smtp = { .size = sizeof(smtp),
		.protocol = MH_SMTP, .hostname = "mail.example" };
	const struct mh_options pop3 = { .size = sizeof(pop3),
		.protocol = MH_POP3, .hostname = "mail.example",
		.flags = MH_OFFER_CLEAR_LOGIN | MH_OFFER_DELETE };
	struct mh_server *server = mh_server_new();
	const struct mh_event *event;

	if (argc != 4 || sqlite3_open(argv[1], &db) != SQLITE_OK ||
	    sqlite3_exec(db, SCHEMA, NULL, NULL, NULL) != SQLITE_OK ||
	    mh_server_listen(server, mh_listen("127.0.0.1", argv[2]), &smtp,
	    NULL) != 0 || mh_server_listen(server,
	    mh_listen("127.0.0.1", argv[3]), &pop3, NULL) != 0) {
		fprintf(stderr, "store: cannot begin\n");
		return 1;
	}
	/* SIGTERM comes in while we wait, and at no other time. */
	sigset_t term, none;
	sigemptyset(&none);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	signal(SIGTERM, stop);
	int fd = mh_server_fd(server);
	while (!stopped) {
		fd_set ready;

		while ((event = mh_server_wait(server, 0)) != NULL)
			serve(event);
		FD_ZERO(&ready);
		FD_SET(fd, &ready);
		pselect(fd + 1, &ready, NULL, NULL, NULL, &none);
	}
	mh_server_stop(server);
	while ((event = mh_server_wait(server, -1)) != NULL)
		serve(event);
	mh_server_free(server);
	return sqlite3_close(db) == SQLITE_OK ? 0 : 1;
}
