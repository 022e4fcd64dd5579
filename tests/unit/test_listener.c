/*
 * test_listener.c - sockets that listen: what --listen takes, and what a
 * super-server hands over.
 */
#include "drive.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "system/listener.h"

/* ---- helpers ---- */

static bool
is_valid(const char *text)
{
	char why[128];

	return listener_is_valid(text, why, sizeof(why));
}

static void
open_where(struct listeners *listeners, const char *where)
{
	struct listeners none = { .n = 0 };
	struct error error;

	if (listener_open(listeners, &none, where, &error) != 0)
		fail_msg("%s: %s", where, error.text);
}

static const char *
name_of(int fd)
{
	static char name[LISTENER_NAME_SIZE];

	listener_name(fd, name);
	return name;
}

static bool
has_ipv6(void)
{
	struct sockaddr_in6 in6 = {
		.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT,
	};
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	bool has = fd >= 0 &&
	    bind(fd, (struct sockaddr *)&in6, sizeof(in6)) == 0;

	if (fd >= 0)
		close(fd);
	return has;
}

static int
dial(uint16_t port)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET, .sin_port = htons(port),
		.sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) },
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

/* ---- tests ---- */

static void
test_grammar(void **state)
{
	(void)state;
	assert_true(is_valid("0"));
	assert_true(is_valid("65535"));
	assert_true(is_valid("127.0.0.1:25"));
	assert_true(is_valid("0.0.0.0:25"));
	assert_true(is_valid("[::1]:25"));
	assert_true(is_valid("[::ffff:192.0.2.1]:25"));
	assert_true(is_valid("localhost:25"));
	assert_false(is_valid(""));
	assert_false(is_valid(":25"));
	assert_false(is_valid("65536"));
	assert_false(is_valid("-1"));
	assert_false(is_valid("25x"));
	assert_false(is_valid("127.0.0.1:"));
	assert_false(is_valid("127.0.0.1"));
	assert_false(is_valid("::1:25"));
	assert_false(is_valid("[127.0.0.1]:25"));
	assert_false(is_valid("[::1:25"));
	assert_false(is_valid("[]:25"));
	assert_false(is_valid("mail.example.com:25"));
	assert_false(is_valid("[::::::::::::::::::::::::::::::::::::::::"
	    "::::::::::::::]:25"));
}

static void
test_port_0_is_one_port(void **state)
{
	struct listeners listeners = { .n = 0 };
	char want[LISTENER_NAME_SIZE];

	(void)state;
	open_where(&listeners, "0");
	assert_true(listeners.own);
	assert_int_equal(listeners.n, has_ipv6() ? 2 : 1);
	uint16_t port = listener_port(listeners.fds[0]);
	assert_int_not_equal(port, 0);
	snprintf(want, sizeof(want), "127.0.0.1:%u", port);
	assert_string_equal(name_of(listeners.fds[0]), want);
	if (listeners.n == 2) {
		snprintf(want, sizeof(want), "[::1]:%u", port);
		assert_string_equal(name_of(listeners.fds[1]), want);
	}
	for (size_t i = 0; i < listeners.n; i++) {
		int fd = listeners.fds[i];

		assert_true(fd > 3);
		assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
		assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	}
	assert_false(listener_is_ready(&listeners));
	int client = dial(port);
	assert_true(listener_is_ready(&listeners));
	close(client);
	listener_close(&listeners);
	assert_int_equal(listeners.n, 0);
}

static void
test_in_use(void **state)
{
	struct listeners first = { .n = 0 }, second = { .n = 0 };
	struct listeners none = { .n = 0 };
	struct error error;
	char where[32], want[160];

	(void)state;
	open_where(&first, "127.0.0.1:0");
	assert_int_equal(first.n, 1);
	snprintf(where, sizeof(where), "%u", listener_port(first.fds[0]));
	assert_int_equal(listener_open(&second, &none, where, &error), -1);
	assert_int_equal(error.kind, ERROR_CONFIG);
	snprintf(want, sizeof(want), "--listen %s: port %s at 127.0.0.1 is in "
	    "use by another program", where, where);
	assert_string_equal(error.text, want);
	assert_int_equal(second.n, 0);
	listener_close(&first);
	/* And free again at once. */
	open_where(&second, where);
	listener_close(&second);
}

/* Of the second family only, the first one is given back. */
static void
test_in_use_by_ipv6(void **state)
{
	struct listeners first = { .n = 0 }, second = { .n = 0 };
	struct listeners none = { .n = 0 };
	struct error error;
	char where[32];

	(void)state;
	if (!has_ipv6())
		skip();
	open_where(&first, "[::1]:0");
	snprintf(where, sizeof(where), "%u", listener_port(first.fds[0]));
	assert_int_equal(listener_open(&second, &none, where, &error), -1);
	assert_non_null(strstr(error.text, " at ::1 is in use"));
	snprintf(where, sizeof(where), "127.0.0.1:%u",
	    listener_port(first.fds[0]));
	open_where(&second, where);
	listener_close(&first);
	listener_close(&second);
}

/* Of a program that is replaced, with what waits on them. */
static void
test_inherited(void **state)
{
	struct listeners old = { .n = 0 }, fresh = { .n = 0 };
	struct error error;
	char where[32];

	(void)state;
	open_where(&old, "127.0.0.1:0");
	open_where(&old, "127.0.0.1:0");
	int kept = old.fds[0], other = old.fds[1];
	uint16_t port = listener_port(kept);
	int client = dial(port);
	snprintf(where, sizeof(where), "127.0.0.1:%u", port);
	assert_int_equal(listener_open(&fresh, &old, where, &error), 0);
	assert_int_equal(fresh.n, 1);
	assert_int_equal(fresh.fds[0], kept);
	assert_true(listener_is_ready(&fresh));
	assert_int_equal(old.n, 1);
	assert_int_equal(old.fds[0], other);
	/* Port 0 keeps the port it was given before. */
	assert_int_equal(listener_open(&fresh, &old, "127.0.0.1:0", &error),
	    0);
	assert_int_equal(fresh.fds[1], other);
	assert_int_equal(old.n, 0);
	close(client);
	listener_close(&fresh);
}

/* ---- what is passed, each in a process of its own ---- */

/* 0: taken, and what was to be covered is. */
static int
adopt(int from, int to, int also, const char *want_error)
{
	struct listeners listeners = { .n = 0 };
	struct error error = { .kind = ERROR_NONE };
	char pid[24];
	struct stat st;

	if (from != to && dup2(from, to) != to)
		return 10;
	if (also >= 0 && dup2(to, also) != also)
		return 11;
	if (to == 3) {
		snprintf(pid, sizeof(pid), "%ld", (long)getpid());
		setenv("LISTEN_PID", pid, 1);
		if (getenv("LISTEN_FDS") == NULL)
			setenv("LISTEN_FDS", "1", 1);
	}
	int result = listener_adopt(&listeners, &error);
	if (want_error != NULL) {
		if (result == -1 && error.kind == ERROR_CONFIG &&
		    strstr(error.text, want_error) != NULL)
			return 0;
		fprintf(stderr, "%s\n", error.text);
		return 12;
	}
	if (result != 0 || listeners.n != 1 || listeners.own)
		return 13;
	if (listeners.fds[0] <= 3 ||
	    (fcntl(listeners.fds[0], F_GETFD) & FD_CLOEXEC) == 0 ||
	    (fcntl(listeners.fds[0], F_GETFL) & O_NONBLOCK) == 0)
		return 14;
	if (to == 0 && (fstat(0, &st) != 0 || !S_ISCHR(st.st_mode)))
		return 15;
	if (also >= 0 && (fstat(also, &st) != 0 || !S_ISCHR(st.st_mode)))
		return 16;
	if (to == 3 && (fcntl(3, F_GETFD) >= 0 ||
	    getenv("LISTEN_FDS") != NULL || getenv("LISTEN_PID") != NULL))
		return 17;
	return 0;
}

static void
adopt_in_child(int from, int to, int also, const char *fds,
    const char *want_error)
{
	int status;

	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		unsetenv("LISTEN_PID");
		unsetenv("LISTEN_FDS");
		if (fds != NULL)
			setenv("LISTEN_FDS", fds, 1);
		_exit(adopt(from, to, also, want_error));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
test_adopt(void **state)
{
	struct listeners own = { .n = 0 };
	int datagram = socket(AF_INET, SOCK_DGRAM, 0);
	int pair[2];

	(void)state;
	open_where(&own, "127.0.0.1:0");
	int fd = own.fds[0];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	adopt_in_child(fd, 0, -1, NULL, NULL); /* StandardInput=socket */
	adopt_in_child(fd, 0, 1, NULL, NULL);
	adopt_in_child(fd, 0, 2, NULL, NULL);  /* inetd */
	adopt_in_child(fd, 3, -1, NULL, NULL); /* systemd */
	adopt_in_child(pair[0], 0, -1, NULL, "leave --accept out");
	adopt_in_child(pair[0], 3, -1, NULL, "descriptor 3 is a connection");
	adopt_in_child(datagram, 0, -1, NULL, "not a stream socket");
	adopt_in_child(fd, 3, -1, "2", "2 descriptors were passed");
	adopt_in_child(fd, 3, -1, "x", "LISTEN_FDS or LISTEN_PID is broken");
	int null = open("/dev/null", O_RDWR);
	adopt_in_child(null, 0, -1, NULL, "descriptor 0 is none");
	close(null);
	close(datagram);
	close(pair[0]);
	close(pair[1]);
	listener_close(&own);
}

static void
test_unix_socket(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	snprintf(un.sun_path, sizeof(un.sun_path), "/tmp/test_listener.%ld",
	    (long)getpid());
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(fd, 1), 0);
	adopt_in_child(fd, 0, -1, NULL, NULL);
	assert_string_equal(name_of(fd), un.sun_path);
	assert_int_equal(listener_port(fd), 0);
	unlink(un.sun_path);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grammar),
		cmocka_unit_test(test_port_0_is_one_port),
		cmocka_unit_test(test_in_use),
		cmocka_unit_test(test_in_use_by_ipv6),
		cmocka_unit_test(test_inherited),
		cmocka_unit_test(test_adopt),
		cmocka_unit_test(test_unix_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
