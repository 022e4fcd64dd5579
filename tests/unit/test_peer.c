/*
 * test_peer.c - whose connection this is, on descriptors and with an
 * environment such as each super-server hands over.
 *
 * Each case is a process of its own, for peer_take moves the standard
 * descriptors about; it tells what it found on a pipe.
 */
#include "drive.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "system/peer.h"

/* A case's own descriptors stand out of the way from here on. */
#define HIGH_FD 100

static struct {
	int report_fd;
	int client_fd;  /* the other end of the connection */
	uint16_t port;  /* its port, told as PORT */
} child;

/* ---- in the child ---- */

#define NEED(condition) \
	do { \
		if (!(condition)) \
			give_up(#condition, __LINE__); \
	} while (0)

static void
give_up(const char *what, int line)
{
	dprintf(child.report_fd, "line %d: %s: %s", line, what,
	    strerror(errno));
	_exit(1);
}

static int
high(int fd)
{
	NEED(fd >= 0);
	int moved = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);
	NEED(moved >= 0);
	close(fd);
	return moved;
}

/* The connection becomes descriptors first to last. */
static void
place(int fd, int first, int last)
{
	for (int to = first; to <= last; to++)
		NEED(dup2(fd, to) == to);
	close(fd);
}

static bool
is_null(int fd)
{
	struct stat st, null;

	return fstat(fd, &st) == 0 && stat("/dev/null", &null) == 0 &&
	    st.st_rdev == null.st_rdev && S_ISCHR(st.st_mode);
}

static void
report_descriptors(const struct peer *peer)
{
	char octet = '?';

	NEED(peer->in_fd > 3 && peer->out_fd > 3);
	NEED((fcntl(peer->in_fd, F_GETFD) & FD_CLOEXEC) != 0);
	NEED((fcntl(peer->out_fd, F_GETFD) & FD_CLOEXEC) != 0);
	/* It is still that connection, both ways. */
	if (child.client_fd >= 0) {
		NEED(write(child.client_fd, "i", 1) == 1);
		NEED(read(peer->in_fd, &octet, 1) == 1 && octet == 'i');
		NEED(write(peer->out_fd, "o", 1) == 1);
		NEED(read(child.client_fd, &octet, 1) == 1 && octet == 'o');
	}
	dprintf(child.report_fd, "%s%s%s",
	    peer->in_fd == peer->out_fd ? "one" : "two",
	    is_null(STDIN_FILENO) && is_null(STDOUT_FILENO) ? " covered" : "",
	    is_null(STDERR_FILENO) ? " quiet" : "");
}

/* Takes the connection and tells all about it. */
static void
take_and_report(void)
{
	struct peer peer;
	struct error error;
	char port[8] = "PORT";

	if (peer_take(&peer, &error) != 0) {
		dprintf(child.report_fd, "error %d: %s", (int)error.kind,
		    error.text);
		_exit(0);
	}
	report_descriptors(&peer);
	if (child.port == 0 || peer.port != child.port)
		snprintf(port, sizeof(port), "%u", peer.port);
	dprintf(child.report_fd, "; %s [%s] %s%s; ",
	    peer.local ? "local" : "remote", peer.address, port,
	    peer.is_ipv6 ? " v6" : "");
	/* The name for the log, its port likewise. */
	char want[16];
	int len = snprintf(want, sizeof(want), ":%u", child.port);
	size_t name_len = strlen(peer.name);
	if (child.port != 0 && name_len > (size_t)len &&
	    strcmp(peer.name + name_len - (size_t)len, want) == 0)
		dprintf(child.report_fd, "%.*s:PORT",
		    (int)name_len - len, peer.name);
	else
		dprintf(child.report_fd, "%s", peer.name);
	_exit(0);
}

/* ---- connections, made in the child ---- */

static int
unix_pair(int type)
{
	int fds[2];

	NEED(socketpair(AF_UNIX, type, 0, fds) == 0);
	child.client_fd = high(fds[1]);
	return high(fds[0]);
}

struct endpoint {
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} address;
	socklen_t len;
};

static struct endpoint
endpoint(int family, const char *text)
{
	struct endpoint end = { .len = 0 };

	if (family == AF_INET) {
		end.address.in.sin_family = AF_INET;
		NEED(inet_pton(AF_INET, text,
		    &end.address.in.sin_addr) == 1);
		end.len = sizeof(end.address.in);
	} else {
		end.address.in6.sin6_family = AF_INET6;
		NEED(inet_pton(AF_INET6, text,
		    &end.address.in6.sin6_addr) == 1);
		end.len = sizeof(end.address.in6);
	}
	return end;
}

static uint16_t
port_of(int fd)
{
	struct endpoint end = { .len = sizeof(end.address) };

	NEED(getsockname(fd, &end.address.any, &end.len) == 0);
	return ntohs(end.address.any.sa_family == AF_INET
	    ? end.address.in.sin_port : end.address.in6.sin6_port);
}

static int
listen_at(int family, const char *text)
{
	struct endpoint end = endpoint(family, text);
	const int off = 0;
	int fd = socket(family, SOCK_STREAM, 0);

	NEED(fd >= 0);
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	NEED(bind(fd, &end.address.any, end.len) == 0);
	NEED(listen(fd, 1) == 0);
	return high(fd);
}

/* A connection that was accepted there, from and to that address. */
static int
tcp(int family, const char *server, int client_family, const char *client)
{
	int listener = listen_at(family, server);
	struct endpoint end = endpoint(client_family, client);
	int fd = socket(client_family, SOCK_STREAM, 0);

	/* From the very address it goes to, which is ours too. */
	NEED(fd >= 0 && bind(fd, &end.address.any, end.len) == 0);
	if (client_family == AF_INET)
		end.address.in.sin_port = htons(port_of(listener));
	else
		end.address.in6.sin6_port = htons(port_of(listener));
	NEED(connect(fd, &end.address.any, end.len) == 0);
	child.client_fd = high(fd);
	child.port = port_of(child.client_fd);
	int accepted = high(accept(listener, NULL, NULL));
	close(listener);
	return accepted;
}

static int
tcp4(void)
{
	return tcp(AF_INET, "127.0.0.1", AF_INET, "127.0.0.1");
}

/* ---- in the parent ---- */

/* Runs it in a child; fails where the report is another one. */
static void
check_case(void (*run)(void), const char *want, const char *name)
{
	static const char *const variables[] = {
		"REMOTE_ADDR", "REMOTE_PORT", "TCPREMOTEIP", "TCPREMOTEPORT",
		"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
	};
	char got[1024];
	size_t len = 0;
	ssize_t n;
	int fds[2];
	int status;

	assert_int_equal(pipe(fds), 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(fds[0]);
		child.report_fd = fcntl(fds[1], F_DUPFD_CLOEXEC, HIGH_FD);
		child.client_fd = -1;
		close(fds[1]);
		for (size_t i = 0; i < COUNT(variables); i++)
			unsetenv(variables[i]);
		alarm(20);
		run();
		_exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], got + len, sizeof(got) - len)) > 0)
		len += (size_t)n;
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!slice_equal((struct slice){ got, len }, slice_from(want)))
		print_error("in %s\n", name);
	assert_slices(((struct slice){ got, len }), slice_from(want));
	assert_int_equal(status, 0);
}

#define CHECK(run, want) check_case(run, want, #run)

#define UNIX_REPORT "one covered; local [] 0; local"
#define V4_REPORT "one covered; local [127.0.0.1] PORT; 127.0.0.1:PORT"

/* ---- descriptors ---- */

static void
run_socketpair(void)
{
	place(unix_pair(SOCK_STREAM), 0, 1);
	take_and_report();
}

static void
run_inetd(void)
{
	place(unix_pair(SOCK_STREAM), 0, 2);
	take_and_report();
}

/* Two pipes: as under tcpserver with a filter between, or by hand. */
static void
run_pipes(void)
{
	int in[2], out[2];

	NEED(pipe(in) == 0 && pipe(out) == 0);
	int in_fd = high(in[0]), out_fd = high(out[1]);
	high(in[1]);
	high(out[0]);
	place(in_fd, 0, 0);
	place(out_fd, 1, 1);
	take_and_report();
}

static void
run_files(void)
{
	place(high(open("/dev/zero", O_RDONLY)), 0, 0);
	place(high(open("/dev/null", O_WRONLY)), 1, 1);
	take_and_report();
}

static void
run_tcp_inetd(void)
{
	place(tcp4(), 0, 2);
	take_and_report();
}

static void
test_descriptors(void **state)
{
	(void)state;
	CHECK(run_socketpair, UNIX_REPORT);
	CHECK(run_inetd, UNIX_REPORT);
	CHECK(run_pipes, "two covered; local [] 0; local");
	CHECK(run_files, "two covered; local [] 0; local");
	CHECK(run_tcp_inetd, V4_REPORT);
}

static void
run_listening(void)
{
	place(listen_at(AF_INET, "127.0.0.1"), 0, 1);
	take_and_report();
}

static void
run_unix_listening(void)
{
	struct sockaddr address = { .sa_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	/* An autobound name, which needs no file. */
	NEED(fd >= 0 && bind(fd, &address, sizeof(sa_family_t)) == 0);
	NEED(listen(fd, 1) == 0);
	place(high(fd), 0, 1);
	take_and_report();
}

static void
run_datagram(void)
{
	place(unix_pair(SOCK_DGRAM), 0, 1);
	take_and_report();
}

static void
run_udp(void)
{
	place(high(socket(AF_INET, SOCK_DGRAM, 0)), 0, 1);
	take_and_report();
}

static void
run_closed_in(void)
{
	close(STDIN_FILENO);
	take_and_report();
}

static void
run_closed_out(void)
{
	close(STDOUT_FILENO);
	take_and_report();
}

#define LISTENING "error 2: descriptor 0 is a listening socket, one " \
	"process serves one connection: set Accept=yes in the .socket unit, " \
	"nowait in inetd, or --accept"
#define DATAGRAM "error 2: descriptor 0 is not a stream socket: use " \
	"ListenStream= and Accept=yes, or socket_type = stream"

static void
test_refused(void **state)
{
	(void)state;
	assert_int_equal(ERROR_CONFIG, 2);
	CHECK(run_listening, LISTENING);
	CHECK(run_unix_listening, LISTENING);
	CHECK(run_datagram, DATAGRAM);
	CHECK(run_udp, DATAGRAM);
	CHECK(run_closed_in,
	    "error 2: descriptor 0 is no connection: Bad file descriptor");
	CHECK(run_closed_out,
	    "error 2: descriptor 1 is no connection: Bad file descriptor");
}

/* ---- systemd ---- */

static void
set_listen(const char *fds, long pid)
{
	char text[24];

	snprintf(text, sizeof(text), "%ld", pid);
	setenv("LISTEN_PID", text, 1);
	setenv("LISTEN_FDS", fds, 1);
}

static void
run_passed(void)
{
	place(tcp4(), 3, 3);
	set_listen("1", getpid());
	take_and_report();
}

/* systemd says who it is, too. */
static void
run_passed_remote(void)
{
	place(tcp4(), 3, 3);
	set_listen("1", getpid());
	setenv("REMOTE_ADDR", "127.0.0.1", 1);
	setenv("REMOTE_PORT", "1", 1);
	take_and_report();
}

static void
run_passed_two(void)
{
	place(unix_pair(SOCK_STREAM), 3, 4);
	set_listen("2", getpid());
	take_and_report();
}

static void
run_passed_listening(void)
{
	place(listen_at(AF_INET, "127.0.0.1"), 3, 3);
	set_listen("1", getpid());
	take_and_report();
}

/* Those were of some process above us. */
static void
run_passed_to_other(void)
{
	place(unix_pair(SOCK_STREAM), 0, 1);
	set_listen("1", getppid());
	take_and_report();
}

static void
run_passed_broken(void)
{
	place(unix_pair(SOCK_STREAM), 0, 1);
	set_listen("x", getpid());
	take_and_report();
}

static void
test_systemd(void **state)
{
	(void)state;
	CHECK(run_passed_to_other, UNIX_REPORT);
	/* Standard descriptors are the journal's here, or /dev/null. */
	CHECK(run_passed,
	    "one; local [127.0.0.1] PORT; 127.0.0.1:PORT");
	CHECK(run_passed_remote,
	    "one; local [127.0.0.1] PORT; 127.0.0.1:PORT");
	CHECK(run_passed_two, "error 2: 2 descriptors were passed, one "
	    "process serves one connection: set Accept=yes in the .socket "
	    "unit");
	CHECK(run_passed_listening, "error 2: descriptor 3 is a listening "
	    "socket, one process serves one connection: set Accept=yes in "
	    "the .socket unit, nowait in inetd, or --accept");
	CHECK(run_passed_broken, "error 2: LISTEN_FDS or LISTEN_PID is "
	    "broken");
}

/* ---- addresses ---- */

static void
run_tcp4(void)
{
	place(tcp4(), 0, 1);
	take_and_report();
}

/* All of 127/8 is this machine. */
static void
run_tcp4_other_loopback(void)
{
	place(tcp(AF_INET, "127.7.8.9", AF_INET, "127.7.8.9"), 0, 1);
	take_and_report();
}

static void
run_tcp6(void)
{
	place(tcp(AF_INET6, "::1", AF_INET6, "::1"), 0, 1);
	take_and_report();
}

/* IPv4-mapped addresses are IPv4. */
static void
run_tcp_mapped(void)
{
	place(tcp(AF_INET6, "::ffff:127.0.0.1", AF_INET, "127.0.0.1"), 0, 1);
	take_and_report();
}

/* Reset before we looked: nobody knows who that was. */
static void
run_tcp_gone(void)
{
	const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
	char octet;

	place(tcp4(), 0, 1);
	NEED(setsockopt(child.client_fd, SOL_SOCKET, SO_LINGER, &at_once,
	    sizeof(at_once)) == 0);
	close(child.client_fd);
	child.client_fd = -1;
	NEED(recv(STDIN_FILENO, &octet, 1, 0) < 0 && errno == ECONNRESET);
	take_and_report();
}

static void
run_unix_gone(void)
{
	place(unix_pair(SOCK_STREAM), 0, 1);
	close(child.client_fd);
	child.client_fd = -1;
	take_and_report();
}

static bool
have_ipv6(void)
{
	struct sockaddr_in6 address = {
		.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT,
	};
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	bool have = fd >= 0 && bind(fd, (struct sockaddr *)&address,
	    sizeof(address)) == 0;

	if (fd >= 0)
		close(fd);
	return have;
}

static void
test_addresses(void **state)
{
	(void)state;
	CHECK(run_tcp4, V4_REPORT);
	CHECK(run_tcp4_other_loopback,
	    "one covered; local [127.7.8.9] PORT; 127.7.8.9:PORT");
	CHECK(run_tcp_gone, "one covered; remote [] 0; unknown");
	CHECK(run_unix_gone, UNIX_REPORT);
}

static void
test_ipv6_addresses(void **state)
{
	(void)state;
	if (!have_ipv6()) {
		print_message("this machine has no IPv6\n");
		skip();
	}
	CHECK(run_tcp6, "one covered; local [::1] PORT v6; [::1]:PORT");
	CHECK(run_tcp_mapped, V4_REPORT);
}

/* A network of our own, whose only interface has the addresses 192.0.2.1
 * and 2001:db8::1 of the documentation. */
static void
own_network(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct {
		struct in6_addr address;
		uint32_t prefix_len;
		int index;
	} request6 = { .prefix_len = 128 };

	if (unshare(CLONE_NEWNET) != 0 &&
	    unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
		dprintf(child.report_fd, "no network");
		_exit(0);
	}
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	NEED(fd >= 0);
	NEED(inet_pton(AF_INET, "192.0.2.1", &address.sin_addr) == 1);
	memcpy(&request.ifr_addr, &address, sizeof(address));
	NEED(ioctl(fd, SIOCSIFADDR, &request) == 0);
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	NEED(ioctl(fd, SIOCSIFFLAGS, &request) == 0);
	close(fd);
	fd = socket(AF_INET6, SOCK_DGRAM, 0);
	if (fd < 0)
		return;
	NEED(inet_pton(AF_INET6, "2001:db8::1", &request6.address) == 1);
	request6.index = (int)if_nametoindex("lo");
	NEED(ioctl(fd, SIOCSIFADDR, &request6) == 0);
	/* The kernel makes up its mind a moment later. */
	const struct endpoint end = endpoint(AF_INET6, "2001:db8::1");
	while (bind(fd, &end.address.any, end.len) != 0) {
		const struct timespec moment = { .tv_nsec = 1000000 };

		NEED(errno == EADDRNOTAVAIL);
		nanosleep(&moment, NULL);
	}
	close(fd);
}

static void
run_remote4(void)
{
	own_network();
	place(tcp(AF_INET, "192.0.2.1", AF_INET, "192.0.2.1"), 0, 1);
	take_and_report();
}

/* The environment cannot make it local. */
static void
run_remote4_said_local(void)
{
	own_network();
	place(tcp(AF_INET, "192.0.2.1", AF_INET, "192.0.2.1"), 0, 1);
	setenv("TCPREMOTEIP", "127.0.0.1", 1);
	setenv("TCPREMOTEPORT", "9", 1);
	setenv("REMOTE_ADDR", "::1", 1);
	take_and_report();
}

static void
run_remote6(void)
{
	own_network();
	place(tcp(AF_INET6, "2001:db8::1", AF_INET6, "2001:db8::1"), 0, 1);
	take_and_report();
}

static void
run_remote_mapped(void)
{
	own_network();
	place(tcp(AF_INET6, "::ffff:192.0.2.1", AF_INET, "192.0.2.1"), 0, 1);
	take_and_report();
}

static bool
may_unshare(void)
{
	fflush(NULL);
	pid_t pid = fork();
	int status = -1;

	if (pid == 0)
		_exit(unshare(CLONE_NEWNET) != 0 &&
		    unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static void
test_remote_addresses(void **state)
{
#define V4_REMOTE "one covered; remote [192.0.2.1] PORT; 192.0.2.1:PORT"
	(void)state;
	if (!may_unshare()) {
		print_message("this user may not make a network of its own\n");
		skip();
	}
	CHECK(run_remote4, V4_REMOTE);
	CHECK(run_remote4_said_local, V4_REMOTE);
	if (!have_ipv6())
		return;
	CHECK(run_remote6,
	    "one covered; remote [2001:db8::1] PORT v6; [2001:db8::1]:PORT");
	CHECK(run_remote_mapped, V4_REMOTE);
}

/* ---- what the environment says ---- */

struct witness {
	const char *tcp_address, *tcp_port, *address, *port;
	const char *over_unix; /* the report where the socket knows nothing */
	const char *over_tcp;  /* and where it says 127.0.0.1 */
};

static const struct witness witnesses[] = {
	{ "192.0.2.7", "4711", NULL, NULL,
	    "remote [192.0.2.7] 4711; 192.0.2.7:4711",
	    "remote [127.0.0.1] PORT; 127.0.0.1:PORT" },
	{ NULL, NULL, "192.0.2.7", "4711",
	    "remote [192.0.2.7] 4711; 192.0.2.7:4711",
	    "remote [127.0.0.1] PORT; 127.0.0.1:PORT" },
	{ "2001:DB8:0::7", "1", NULL, NULL,
	    "remote [2001:db8::7] 1 v6; [2001:db8::7]:1",
	    "remote [127.0.0.1] PORT; 127.0.0.1:PORT" },
	{ "127.0.0.9", "65535", NULL, NULL,
	    "local [127.0.0.9] 65535; 127.0.0.9:65535",
	    "local [127.0.0.1] PORT; 127.0.0.1:PORT" },
	{ "::1", "25", NULL, NULL, "local [::1] 25 v6; [::1]:25",
	    "local [127.0.0.1] PORT; 127.0.0.1:PORT" },
	{ "::ffff:127.0.0.9", NULL, NULL, NULL,
	    "local [127.0.0.9] 0; 127.0.0.9",
	    "local [127.0.0.1] PORT; 127.0.0.1:PORT" },
	{ "::ffff:192.0.2.7", "25", NULL, NULL,
	    "remote [192.0.2.7] 25; 192.0.2.7:25",
	    "remote [127.0.0.1] PORT; 127.0.0.1:PORT" },
	{ "2001:db8::7", NULL, NULL, NULL,
	    "remote [2001:db8::7] 0 v6; [2001:db8::7]",
	    "remote [127.0.0.1] PORT; 127.0.0.1:PORT" },
	/* A port that is none is not known. */
	{ "127.0.0.9", "x", NULL, NULL, "local [127.0.0.9] 0; 127.0.0.9",
	    "local [127.0.0.1] PORT; 127.0.0.1:PORT" },
	{ "127.0.0.9", "65536", NULL, NULL,
	    "local [127.0.0.9] 0; 127.0.0.9",
	    "local [127.0.0.1] PORT; 127.0.0.1:PORT" },
	/* Every witness must agree. */
	{ "127.0.0.1", "1", "192.0.2.7", "2",
	    "remote [192.0.2.7] 2; 192.0.2.7:2",
	    "remote [127.0.0.1] PORT; 127.0.0.1:PORT" },
	{ "192.0.2.7", "1", "127.0.0.1", "2",
	    "remote [127.0.0.1] 2; 127.0.0.1:2",
	    "remote [127.0.0.1] PORT; 127.0.0.1:PORT" },
	{ "127.0.0.1", "1", "::1", "2", "local [::1] 2 v6; [::1]:2",
	    "local [127.0.0.1] PORT; 127.0.0.1:PORT" },
	/* What says nothing that we understand is no friend. */
	{ "localhost", "1", NULL, NULL, "remote [] 0; unknown",
	    "remote [127.0.0.1] PORT; 127.0.0.1:PORT" },
	{ NULL, NULL, "127.0.0.1.", NULL, "remote [] 0; unknown",
	    "remote [127.0.0.1] PORT; 127.0.0.1:PORT" },
	{ NULL, NULL, "fe80::1%eth0", "1", "remote [] 0; unknown",
	    "remote [127.0.0.1] PORT; 127.0.0.1:PORT" },
	{ "127.1", "1", NULL, NULL, "remote [] 0; unknown",
	    "remote [127.0.0.1] PORT; 127.0.0.1:PORT" },
	/* Nothing at all, and a UNIX socket's names (systemd). */
	{ "", "", "", "", "local [] 0; local",
	    "local [127.0.0.1] PORT; 127.0.0.1:PORT" },
	{ NULL, NULL, "/run/client", NULL, "local [] 0; local",
	    "local [127.0.0.1] PORT; 127.0.0.1:PORT" },
	{ NULL, NULL, "@abstract", NULL, "local [] 0; local",
	    "local [127.0.0.1] PORT; 127.0.0.1:PORT" },
};

static const struct witness *witness;

static void
set_witness(void)
{
	if (witness->tcp_address != NULL)
		setenv("TCPREMOTEIP", witness->tcp_address, 1);
	if (witness->tcp_port != NULL)
		setenv("TCPREMOTEPORT", witness->tcp_port, 1);
	if (witness->address != NULL)
		setenv("REMOTE_ADDR", witness->address, 1);
	if (witness->port != NULL)
		setenv("REMOTE_PORT", witness->port, 1);
}

static void
run_witness_unix(void)
{
	set_witness();
	place(unix_pair(SOCK_STREAM), 0, 1);
	take_and_report();
}

static void
run_witness_tcp(void)
{
	set_witness();
	place(tcp4(), 0, 1);
	take_and_report();
}

static void
test_witnesses(void **state)
{
	char want[200];

	(void)state;
	for (size_t i = 0; i < COUNT(witnesses); i++) {
		char name[32];

		witness = &witnesses[i];
		snprintf(name, sizeof(name), "row %zu", i);
		snprintf(want, sizeof(want), "one covered; %s",
		    witness->over_unix);
		check_case(run_witness_unix, want, name);
		snprintf(want, sizeof(want), "one covered; %s",
		    witness->over_tcp);
		check_case(run_witness_tcp, want, name);
	}
}

/* ---- what a PROXY header says ---- */

static void
test_proxy_header(void **state)
{
	static const struct {
		struct proxy_header header;
		bool was_local, good;
		const char *name;
		bool local;
	} rows[] = {
		/* LOCAL: the connecting peer speaks for itself. */
		{ { .source = PROXY_SOURCE_NONE }, true, true, "before",
		    true },
		{ { .source = PROXY_SOURCE_NONE }, false, true, "before",
		    false },
		{ { .source = PROXY_SOURCE_UNKNOWN }, true, true, "unknown",
		    false },
		{ { .source = PROXY_SOURCE_UNKNOWN }, false, true, "unknown",
		    false },
		{ { .source = PROXY_SOURCE_UNIX }, true, true, "local",
		    true },
		{ { .source = PROXY_SOURCE_UNIX }, false, true, "unknown",
		    false },
		{ { .source = PROXY_SOURCE_IPV4, .port = 7,
		    .address = { 192, 0, 2, 1 } }, true, true,
		    "192.0.2.1:7", false },
		{ { .source = PROXY_SOURCE_IPV4, .port = 7,
		    .address = { 127, 0, 0, 5 } }, true, true,
		    "127.0.0.5:7", true },
		/* One more witness, not the only one. */
		{ { .source = PROXY_SOURCE_IPV4, .port = 7,
		    .address = { 127, 0, 0, 5 } }, false, true,
		    "127.0.0.5:7", false },
		{ { .source = PROXY_SOURCE_IPV6, .port = 65535,
		    .address = { 0x20, 1, 0xd, 0xb8, [15] = 1 } }, true,
		    true, "[2001:db8::1]:65535", false },
		{ { .source = PROXY_SOURCE_IPV6, .address = { [15] = 1 } },
		    true, true, "[::1]", true },
		{ { .source = PROXY_SOURCE_IPV6, .port = 1,
		    .address = { [10] = 0xFF, [11] = 0xFF, 127, 0, 0, 1 } },
		    true, true, "127.0.0.1:1", true },
		{ { .source = PROXY_SOURCE_IPV6, .port = 1,
		    .address = { [10] = 0xFF, [11] = 0xFF, 192, 0, 2, 1 } },
		    true, true, "192.0.2.1:1", false },
		/* Version 1's are text. */
		{ { .source = PROXY_SOURCE_IPV4, .port = 7,
		    .address_text = SLICE("192.0.2.1"),
		    .destination_text = SLICE("192.0.2.2") }, true, true,
		    "192.0.2.1:7", false },
		{ { .source = PROXY_SOURCE_IPV6, .port = 7,
		    .address_text = SLICE("::1"),
		    .destination_text = SLICE("::1") }, true, true,
		    "[::1]:7", true },
		{ { .source = PROXY_SOURCE_IPV4, .port = 7,
		    .address_text = SLICE("192.0.2.256"),
		    .destination_text = SLICE("192.0.2.2") }, true, false,
		    NULL, false },
		{ { .source = PROXY_SOURCE_IPV4, .port = 7,
		    .address_text = SLICE("192.0.2.1"),
		    .destination_text = SLICE("x") }, true, false, NULL,
		    false },
		{ { .source = PROXY_SOURCE_IPV4, .port = 7,
		    .address_text = SLICE("::1"),
		    .destination_text = SLICE("192.0.2.2") }, true, false,
		    NULL, false },
		{ { .source = PROXY_SOURCE_IPV6, .port = 7,
		    .address_text = SLICE("127.0.0.1"),
		    .destination_text = SLICE("::1") }, true, false, NULL,
		    false },
		{ { .source = PROXY_SOURCE_IPV6, .port = 7,
		    .address_text = SLICE("1111:1111:1111:1111:1111:1111:"
		    "1111:1111:1111:1111"),
		    .destination_text = SLICE("::1") }, true, false, NULL,
		    false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct peer peer = {
			.local = rows[i].was_local, .name = "before",
		};
		struct error error;
		int applied = peer_apply_proxy_header(&peer, &rows[i].header,
		    &error);

		if ((applied == 0) != rows[i].good)
			fail_msg("row %zu", i);
		if (!rows[i].good) {
			assert_int_equal(error.kind, ERROR_PEER);
			continue;
		}
		assert_string_equal(peer.name, rows[i].name);
		assert_int_equal(peer.local, rows[i].local);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_systemd),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_ipv6_addresses),
		cmocka_unit_test(test_remote_addresses),
		cmocka_unit_test(test_witnesses),
		cmocka_unit_test(test_proxy_header),
	};

	return cmocka_run_group_tests_name("peer", tests, NULL, NULL);
}
