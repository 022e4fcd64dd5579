/*
 * test_relay_connect.c - a descriptor for a next hop: which of its addresses
 * are tried, in which order, for how long, and which never.
 *
 * The calls below stand before the C library's own: names have the addresses
 * that the test gives them, nobody is called, and who waits has waited.
 */
#include "drive.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "relay/relay_private.h"
#include "relay/relay_resolve.h"
#include "system/clock.h"
#include "system/connect.h"
#include "system/process.h"

#define ADDRESSES_MAX 4

/* ---- system calls ---- */

static struct {
	/* What the name has. */
	struct sockaddr_in address[ADDRESSES_MAX];
	struct addrinfo info[ADDRESSES_MAX];
	size_t n;
	unsigned freed;
	bool asked_elsewhere; /* in another thread */
	bool no_threads;
	pthread_t main;

	/* What becomes of each connect, the last one of all further ones. */
	int connects[ADDRESSES_MAX];
	unsigned n_connects;
	in_addr_t called[16];
	unsigned n_called;
	int late_failure; /* SO_ERROR */
	bool answers;     /* who is waited for */

	int64_t later; /* milliseconds that were waited */
	int64_t waited[16];
	unsigned n_waited;
} calls;

int
getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
    struct addrinfo **addresses)
{
	(void)port;
	if ((hints->ai_flags & AI_NUMERICHOST) != 0 ||
	    strcmp(host, "none") == 0)
		return EAI_NONAME;
	calls.asked_elsewhere = !pthread_equal(pthread_self(), calls.main);
	*addresses = calls.info;
	return 0;
}

int
pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
    void *(*run)(void *), void *arg)
{
	int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *),
	    void *);
	int detached;

	/* Nobody joins it. */
	assert_int_equal(pthread_attr_getdetachstate(attributes, &detached), 0);
	assert_int_equal(detached, PTHREAD_CREATE_DETACHED);
	*(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
	return calls.no_threads ? EAGAIN : real(thread, attributes, run, arg);
}

void
freeaddrinfo(struct addrinfo *addresses)
{
	assert_true(addresses == calls.info);
	calls.freed++;
}

int
connect(int fd, const struct sockaddr *address, socklen_t len)
{
	const struct sockaddr_in *v4 = (const void *)address;
	unsigned i = calls.n_called;

	(void)len;
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_true(i < COUNT(calls.called));
	calls.called[calls.n_called++] = address->sa_family == AF_INET
	    ? ntohl(v4->sin_addr.s_addr) : 0;
	if (i >= calls.n_connects)
		i = calls.n_connects - 1;
	/* What success leaves in errno says nothing. */
	errno = calls.connects[i] != 0 ? calls.connects[i] : ENOTTY;
	return calls.connects[i] == 0 ? 0 : -1;
}

int
getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
	(void)fd;
	(void)level;
	assert_int_equal(option, SO_ERROR);
	assert_int_equal(*len, sizeof(int));
	*(int *)value = calls.late_failure;
	return 0;
}

/* It stands still, but for who waits. */
int
clock_gettime(clockid_t clock, struct timespec *now)
{
	(void)clock;
	*now = (struct timespec){ .tv_sec = 1000 + calls.later / 1000 };
	return 0;
}

int
ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
    const sigset_t *mask)
{
	int (*real)(struct pollfd *, nfds_t, const struct timespec *,
	    const sigset_t *);

	/* The resolver's thread is waited for as ever. */
	if (n > 0 && calls.n_called == 0) {
		*(void **)&real = dlsym(RTLD_NEXT, "ppoll");
		int result = real(fds, n, timeout, mask);
		assert_int_equal(fcntl(fds->fd, F_GETFL) & O_ACCMODE,
		    O_RDONLY);
		return result;
	}
	int64_t left = timeout->tv_sec * 1000 + timeout->tv_nsec / 1000000;
	assert_true(calls.n_waited < COUNT(calls.waited));
	calls.waited[calls.n_waited++] = left;
	if (n > 0 && calls.answers)
		return 1;
	/* In whole seconds: not too often where many are waiting. */
	calls.later += (left + 999) / 1000 * 1000;
	return 0;
}

/* ---- next hops ---- */

static struct relay relay;
static struct error error;
static struct account account;
static char path[] = "/nowhere/socket";

#define HERE INADDR_LOOPBACK
#define THERE 0xC0000201u /* 192.0.2.1 */

static int
set_up(void **state)
{
	(void)state;
	memset(&calls, 0, sizeof(calls));
	memset(&relay, 0, sizeof(relay));
	memset(&error, 0, sizeof(error));
	calls.main = pthread_self();
	account = (struct account){ .sender = SLICE("*"), .hop = {
	    NEXT_HOP_SMTP_PLAIN, .host = "name", .port = "25" } };
	return 0;
}

static void
add_address(in_addr_t address)
{
	size_t i = calls.n++;

	calls.address[i] = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons(25),
		.sin_addr = { .s_addr = htonl(address) },
	};
	calls.info[i] = (struct addrinfo){
		.ai_family = AF_INET, .ai_socktype = SOCK_STREAM,
		.ai_addr = (struct sockaddr *)(void *)&calls.address[i],
		.ai_addrlen = sizeof(calls.address[i]),
	};
	if (i > 0)
		calls.info[i - 1].ai_next = &calls.info[i];
}

static void
add_connect(int outcome)
{
	calls.connects[calls.n_connects++] = outcome;
}

/* Connects within ten seconds: is there a descriptor? No other is left. */
static void
check_connect(int want, const char *text)
{
	unsigned before = descriptors_open();
	int fd = relay_connect(&relay, &account, clock_now() + 10000, &error);

	if (want == 0) {
		if (fd < 0)
			fail_msg("%s", error.text);
		close(fd);
	} else {
		assert_int_equal(fd, want);
		assert_slices(slice_from(error.text), slice_from(text));
	}
	assert_int_equal(descriptors_open(), before);
	assert_int_equal(calls.freed, calls.n > 0);
}

static void
check_called(const in_addr_t *want, unsigned n)
{
	assert_int_equal(calls.n_called, n);
	for (unsigned i = 0; i < n; i++)
		assert_true(calls.called[i] == want[i]);
}

static void
check_waited(int64_t want)
{
	for (unsigned i = 0; i < calls.n_waited; i++)
		if (calls.waited[i] != want)
			fail_msg("waited %d ms, not %d",
			    (int)calls.waited[i], (int)want);
}

/* ---- addresses ---- */

/* The next one where one refuses, and none after one that does not. */
static void
test_order(void **state)
{
	static const in_addr_t want[] = { THERE, THERE + 1 };

	(void)state;
	for (in_addr_t i = 0; i < 3; i++)
		add_address(THERE + i);
	add_connect(ECONNREFUSED);
	add_connect(0);
	check_connect(0, NULL);
	check_called(want, COUNT(want));
	assert_true(calls.asked_elsewhere);
}

static void
test_all_refuse(void **state)
{
	static const in_addr_t want[] = { THERE, THERE + 1 };

	(void)state;
	add_address(THERE);
	add_address(THERE + 1);
	add_connect(ENETUNREACH);
	add_connect(ECONNREFUSED);
	check_connect(-1, "name port 25: connect: Connection refused");
	check_called(want, COUNT(want));
}

static void
test_later_refusal(void **state)
{
	(void)state;
	add_address(THERE);
	add_address(THERE + 1);
	add_connect(EINPROGRESS);
	calls.answers = true;
	calls.late_failure = ECONNREFUSED;
	check_connect(-1, "name port 25: connect: Connection refused");
	assert_int_equal(calls.n_called, 2);
	assert_int_equal(calls.n_waited, 2);
}

static void
test_later_success(void **state)
{
	(void)state;
	add_address(THERE);
	add_address(THERE + 1);
	add_connect(EINPROGRESS);
	calls.answers = true;
	check_connect(0, NULL);
	assert_int_equal(calls.n_called, 1);
	check_waited(5000);
}

/* One that swallows everything does not use up the others' time. */
static void
test_shares(void **state)
{
	(void)state;
	add_address(THERE);
	add_address(THERE + 1);
	add_connect(EINPROGRESS);
	check_connect(-1, "name port 25: connect: Connection timed out");
	assert_int_equal(calls.n_called, 2);
	assert_int_equal(calls.n_waited, 2);
	check_waited(5000);
}

/* A password in the clear does not leave this machine, and what is never
 * called has no share of the time. */
static void
test_password(void **state)
{
	static const in_addr_t here[] = { HERE }, both[] = { THERE, HERE };

	(void)state;
	account.login = "joe";
	add_address(THERE);
	add_connect(EINPROGRESS);
	check_connect(-1, "name port 25: not on this machine, and there is a "
	    "password");
	assert_int_equal(calls.n_called, 0);

	calls.freed = 0;
	add_address(HERE);
	check_connect(-1, "name port 25: connect: Connection timed out");
	check_called(here, COUNT(here));
	check_waited(10000);

	calls.freed = calls.n_called = calls.n_waited = 0;
	account.hop.scheme = NEXT_HOP_SMTPS;
	check_connect(-1, "name port 25: connect: Connection timed out");
	check_called(both, COUNT(both));
	check_waited(5000);
}

/* To the millisecond, and not where there is none left. */
static void
test_wait(void **state)
{
	static const int64_t rows[] = { 0, 1, 999, 1000, 1234, 10000 };

	(void)state;
	calls.n_called = 1;
	for (size_t i = 0; i < COUNT(rows); i++) {
		calls.answers = true;
		calls.n_waited = 0;
		assert_int_equal(connect_wait_for(0, POLLOUT, clock_now() +
		    rows[i]), rows[i] > 0);
		assert_int_equal(calls.n_waited, rows[i] > 0);
		check_waited(rows[i]);
	}
}

static void
test_no_such_name(void **state)
{
	char text[160];

	(void)state;
	account.hop.host = "none";
	snprintf(text, sizeof(text), "none: %s", gai_strerror(EAI_NONAME));
	check_connect(-1, text);
	assert_int_equal(calls.n_called, 0);
}

/* /etc/hosts is read at once. */
static void
test_localhost(void **state)
{
	(void)state;
	account.hop.host = "localhost";
	add_address(HERE);
	add_connect(0);
	check_connect(0, NULL);
	assert_false(calls.asked_elsewhere);
}

/* A resolver that takes too long is left alone. */
static void
test_too_late(void **state)
{
	struct addrinfo *addresses;
	unsigned before = descriptors_open();

	(void)state;
	add_address(THERE);
	assert_int_equal(relay_resolve("name", "25", clock_now() - 1,
	    &addresses, &error), -1);
	assert_int_equal(error.kind, ERROR_TIMEOUT);
	assert_false(connect_wait_for(0, POLLOUT, clock_now()));
	assert_int_equal(calls.n_waited, 0);
	/* The last one to let go leaves nothing. */
	while (descriptors_open() != before)
		sched_yield();
	assert_int_equal(calls.freed, 1);
}

/* Without a thread to ask in, it is asked all the same. */
static void
test_no_thread(void **state)
{
	struct addrinfo *addresses;
	unsigned before = descriptors_open();
	char text[64];

	(void)state;
	add_address(THERE);
	for (int thread = 0; thread < 2; thread++) {
		calls.no_threads = !thread;
		assert_int_equal(relay_resolve("name", "25", clock_now() +
		    10000, &addresses, &error), 0);
		assert_ptr_equal(addresses, calls.info);
		assert_int_equal(calls.asked_elsewhere, thread);
		assert_int_equal(relay_resolve("none", "25", clock_now() +
		    10000, &addresses, &error), -1);
		snprintf(text, sizeof(text), "%s", gai_strerror(EAI_NONAME));
		assert_slices(slice_from(error.text), slice_from(text));
		while (descriptors_open() != before)
			sched_yield();
	}
	assert_int_equal(calls.freed, 0);
	/* Nor where no pipe to it can be had. */
	struct rlimit limit, none;
	getrlimit(RLIMIT_NOFILE, &limit);
	none = limit;
	none.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &none);
	int result = relay_resolve("name", "25", clock_now() + 10000,
	    &addresses, &error);
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_int_equal(result, 0);
	assert_ptr_equal(addresses, calls.info);
	assert_false(calls.asked_elsewhere);
}

static void
test_no_descriptor(void **state)
{
	struct rlimit limit, none;

	(void)state;
	add_address(HERE);
	/* No thread is needed for it, which would need descriptors too. */
	account.hop.host = "localhost";
	getrlimit(RLIMIT_NOFILE, &limit);
	none = limit;
	none.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &none);
	int fd = relay_connect(&relay, &account, clock_now() + 10000, &error);
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_int_equal(fd, -1);
	assert_text(error.text,
	    "localhost port 25: socket: Too many open files");
	assert_int_equal(calls.n_called, 0);
}

/* ---- UNIX sockets ---- */

static void
test_path(void **state)
{
	(void)state;
	account.hop.scheme = NEXT_HOP_LMTP_UNIX;
	account.hop.host = path;
	add_connect(0);
	check_connect(0, NULL);
	calls.n_called = 0;
	calls.connects[0] = ENOENT;
	check_connect(-1,
	    "/nowhere/socket: connect: No such file or directory");
	assert_int_equal(calls.n_waited, 0);
}

/* Where many wait to be accepted it waits too, as long as there is time. */
static void
test_crowded_path(void **state)
{
	(void)state;
	account.hop.scheme = NEXT_HOP_LMTP_UNIX;
	account.hop.host = path;
	add_connect(EAGAIN);
	add_connect(EAGAIN);
	add_connect(0);
	check_connect(0, NULL);
	assert_int_equal(calls.n_called, 3);
	assert_int_equal(calls.n_waited, 2);

	calls.n_called = calls.n_waited = 0;
	calls.n_connects = 1;
	check_connect(-1, "/nowhere/socket: connect: Resource temporarily "
	    "unavailable");
	/* A second each by this clock. */
	assert_int_equal(calls.n_called, 11);
	assert_int_equal(calls.n_waited, calls.n_called - 1);
}

/* SIGTERM ends what waits, and is then what is said; not what had an answer.
 * In a process of its own, for it stays requested. */
static void
test_stopped(void **state)
{
	static const struct { int outcome; const char *text; } rows[] = {
		{ EAGAIN, "/nowhere/socket: connect: stopped" },
		{ ETIMEDOUT, "/nowhere/socket: connect: stopped" },
		{ EINPROGRESS, "/nowhere/socket: connect: stopped" },
		{ ECONNREFUSED,
		    "/nowhere/socket: connect: Connection refused" },
	};
	int status;

	(void)state;
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		process_init();
		raise(SIGTERM);
		sigprocmask(SIG_SETMASK, process_wait_mask(), NULL);
		account.hop.scheme = NEXT_HOP_LMTP_UNIX;
		account.hop.host = path;
		add_connect(0);
		for (size_t i = 0; i < COUNT(rows); i++) {
			calls.n_called = 0;
			calls.connects[0] = rows[i].outcome;
			if (relay_connect(&relay, &account, clock_now() +
			    10000, &error) != -1 || calls.n_called != 1 ||
			    strcmp(error.text, rows[i].text) != 0)
				_exit(1 + (int)i);
		}
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- this server itself ---- */

static void
test_ourselves(void **state)
{
	(void)state;
	add_address(HERE);
	memcpy(&relay.here, &calls.address[0], sizeof(calls.address[0]));
	add_connect(0);
	check_connect(RELAY_CONNECT_OURSELVES, "name port 25: that is this "
	    "server itself");
	assert_int_equal(calls.n_called, 0);
}

static struct sockaddr_storage
address_of(const char *text, in_port_t port)
{
	struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
	struct sockaddr_in *v4 = (void *)&address;
	struct sockaddr_in6 *v6 = (void *)&address;
	struct sockaddr_un *un = (void *)&address;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
	} else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
	} else if (text[0] != '?') {
		un->sun_family = AF_UNIX;
		snprintf(un->sun_path, sizeof(un->sun_path), "%s", text);
	}
	return address;
}

static void
test_is_here(void **state)
{
	static const struct {
		const char *here, *there;
		in_port_t port;
		bool same;
	} rows[] = {
		{ "192.0.2.1", "192.0.2.1", 25, true },
		{ "192.0.2.1", "192.0.2.1", 26, false },
		{ "192.0.2.1", "192.0.2.2", 25, false },
		{ "192.0.2.1", "::ffff:192.0.2.1", 25, true },
		{ "::ffff:192.0.2.1", "192.0.2.1", 25, true },
		{ "2001:db8::1", "2001:db8::1", 25, true },
		{ "2001:db8::1", "2001:db8::1", 24, false },
		{ "2001:db8::1", "2001:db8::2", 25, false },
		/* All names of loopback, and what comes there. */
		{ "127.0.0.1", "::1", 25, true },
		{ "::1", "127.0.0.1", 25, true },
		{ "127.0.0.1", "0.0.0.0", 25, true },
		{ "127.0.0.1", "::", 25, true },
		{ "127.0.0.1", "::ffff:127.0.0.1", 25, true },
		{ "127.0.0.1", "127.0.0.2", 25, false },
		/* These end in its octets only. */
		{ "127.0.0.1", "2001:db8::127.0.0.1", 25, false },
		{ "::1", "2001:db8::", 25, false },
		{ "/run/a", "/run/a", 0, true },
		{ "/run/a", "/run/b", 0, false },
		/* One without a name is everywhere. */
		{ "", "", 0, false },
		{ "/run/a", "127.0.0.1", 25, false },
		{ "127.0.0.1", "/run/a", 0, false },
		/* Its octets, and its port's, spell the path. */
		{ "/run/a", "117.110.47.97", 0x2F72, false },
		{ "?", "127.0.0.1", 25, false },
		{ "?", "/run/a", 0, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct sockaddr_storage there = address_of(rows[i].there,
		    rows[i].port);

		relay.here = address_of(rows[i].here, 25);
		if (relay_is_here(&relay, (const void *)&there) !=
		    rows[i].same)
			fail_msg("%s and %s", rows[i].here, rows[i].there);
	}
}

/* A client without a name comes to nowhere, whoever came before it. */
static void
test_set_client(void **state)
{
	const struct sockaddr_storage there = address_of("/run/a", 0);
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	for (int i = 0; i < 2; i++) {
		relay.here = there;
		assert_true(relay_is_here(&relay, (const void *)&there));
		relay_set_client(&relay, i == 0 ? ends[0] : -1);
		assert_false(relay_is_here(&relay, (const void *)&there));
	}
	close(ends[0]);
	close(ends[1]);
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_order),
		TEST(test_all_refuse),
		TEST(test_later_refusal),
		TEST(test_later_success),
		TEST(test_shares),
		TEST(test_password),
		TEST(test_wait),
		TEST(test_no_such_name),
		TEST(test_localhost),
		TEST(test_too_late),
		TEST(test_no_thread),
		TEST(test_no_descriptor),
		TEST(test_path),
		TEST(test_crowded_path),
		TEST(test_stopped),
		TEST(test_ourselves),
		TEST(test_is_here),
		TEST(test_set_client),
	};

	return cmocka_run_group_tests_name("relay_connect", tests, NULL, NULL);
}
