/*
 * drive: what the unit tests share. Above all it replays a dialogue against
 * a protocol core, again and again: the client's octets come whole, cut in
 * two at every octet, and in small pieces; the server's octets are drained
 * whole and in small pieces; and neither may change one octet of what the
 * core says or one event that it raises.
 *
 * The storage a core is given ends where a page begins that nobody may
 * touch, and what stands before it is looked at afterwards, so that one
 * octet too many is a crash and not luck.
 */
#ifndef DRIVE_H
#define DRIVE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/slice.h"
#include "protocol/wire.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- storage that cannot be overrun ---- */

struct guarded {
	char *data; /* size octets, the last one before the guard page */
	size_t size;
	char *map;
	size_t map_size;
};

#define GUARD_FILL '\xA5'

static inline void
guarded_new(struct guarded *guarded, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t usable = (size + page - 1) / page * page;

	guarded->size = size;
	guarded->map_size = usable + page;
	guarded->map = mmap(NULL, guarded->map_size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(guarded->map != MAP_FAILED);
	assert_int_equal(mprotect(guarded->map + usable, page, PROT_NONE), 0);
	memset(guarded->map, GUARD_FILL, usable);
	guarded->data = guarded->map + usable - size;
}

static inline void
guarded_free(struct guarded *guarded)
{
	for (const char *at = guarded->map; at < guarded->data; at++)
		if (*at != GUARD_FILL)
			fail_msg("written %zd octets before the buffer",
			    guarded->data - at);
	munmap(guarded->map, guarded->map_size);
	*guarded = (struct guarded){ .data = NULL };
}

/* Places len octets at the very end, before the guard page. */
static inline char *
guarded_put(struct guarded *guarded, const char *octets, size_t len)
{
	char *at = guarded->data + guarded->size - len;

	assert_true(len <= guarded->size);
	if (len > 0)
		memcpy(at, octets, len);
	return at;
}

/* ---- text that grows ---- */

struct text {
	char *data; /* NUL-terminated, or NULL while empty */
	size_t len;
	size_t size;
};

static inline void
text_add(struct text *text, struct slice s)
{
	if (text->len + s.len + 1 > text->size) {
		text->size = (text->len + s.len + 1) * 2;
		text->data = realloc(text->data, text->size);
		assert_non_null(text->data);
	}
	if (s.len > 0)
		memcpy(text->data + text->len, s.data, s.len);
	text->len += s.len;
	text->data[text->len] = '\0';
}

/* All that comes from fd, until its other end is closed everywhere. */
static inline void
read_all(int fd, struct text *text)
{
	char piece[4096];
	ssize_t n;

	while ((n = read(fd, piece, sizeof(piece))) > 0)
		text_add(text, (struct slice){ piece, (size_t)n });
	assert_int_equal(n, 0);
}

static inline void text_format(struct text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static inline void
text_format(struct text *text, const char *format, ...)
{
	char *made;
	va_list args;

	va_start(args, format);
	int len = vasprintf(&made, format, args);
	va_end(args);
	assert_true(len >= 0);
	text_add(text, (struct slice){ made, (size_t)len });
	free(made);
}

static inline void
text_repeat(struct text *text, char c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		text_add(text, (struct slice){ &c, 1 });
}

static inline struct slice
text_slice(const struct text *text)
{
	return (struct slice){ text->data, text->len };
}

static inline void
text_free(struct text *text)
{
	free(text->data);
	*text = (struct text){ .data = NULL };
}

/* ---- exact comparison ---- */

/* Octets as a C string literal, for a failure's text. */
static inline char *
shown(struct slice s)
{
	struct text text = { .data = NULL };
	size_t most = 2000;

	for (size_t i = 0; i < s.len && i < most; i++) {
		unsigned char c = (unsigned char)s.data[i];

		if (c == '\n')
			text_format(&text, "\\n");
		else if (c == '\r')
			text_format(&text, "\\r");
		else if (c == '"' || c == '\\')
			text_format(&text, "\\%c", c);
		else if (c < 0x20 || c >= 0x7F)
			text_format(&text, "\\x%02x", c);
		else
			text_format(&text, "%c", c);
	}
	text_format(&text, "\" (%zu octets)", s.len);
	return text.data;
}

static inline size_t
first_difference(struct slice a, struct slice b)
{
	size_t i = 0;

	while (i < a.len && i < b.len && a.data[i] == b.data[i])
		i++;
	return i;
}

static inline void
check_equal(struct slice got, struct slice want, const char *what,
    const char *file, int line)
{
	if (slice_equal(got, want))
		return;
	char *got_shown = shown(got), *want_shown = shown(want);
	print_error("%s:%d: %s differs at octet %zu\n got:  \"%s\n want: "
	    "\"%s\n", file, line, what, first_difference(got, want),
	    got_shown, want_shown);
	free(got_shown);
	free(want_shown);
	_fail(file, line);
}

#define assert_slice(got, literal) \
	check_equal(got, SLICE(literal), #got, __FILE__, __LINE__)
#define assert_slices(got, want) \
	check_equal(got, want, #got, __FILE__, __LINE__)
#define assert_text(got, literal) \
	check_equal(slice_from(got), SLICE(literal), #got, __FILE__, __LINE__)

/* What was put out since the last time. */
#define assert_output(wire, want) \
	do { \
		assert_slices(buf_contents(&(wire)->out), want); \
		buf_consume(&(wire)->out, buf_contents(&(wire)->out).len); \
	} while (0)

/* ---- chance that is the same each time ---- */

static inline uint32_t
chance(uint64_t *seed, uint32_t below)
{
	/* Knuth's MMIX constants; the high bits are the good ones. */
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*seed >> 33) % below;
}

/* ---- descriptors ---- */

/* How many are open. A test that compares finds one that was forgotten. */
static inline unsigned
descriptors_open(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* ---- temporary directories ---- */

/* Removes what is below path, and path. */
static inline void
remove_tree(int at, const char *path)
{
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);

	if (fd >= 0) {
		DIR *dir = fdopendir(fd);
		const struct dirent *entry;

		assert_non_null(dir);
		while ((entry = readdir(dir)) != NULL)
			if (strcmp(entry->d_name, ".") != 0 &&
			    strcmp(entry->d_name, "..") != 0)
				remove_tree(fd, entry->d_name);
		closedir(dir);
		unlinkat(at, path, AT_REMOVEDIR);
	} else {
		unlinkat(at, path, 0);
	}
}

/* A directory of a test's own. */
struct directory {
	char path[64];
	int fd;
};

static inline void
directory_make(struct directory *directory)
{
	const char *base = getenv("MAILTEST_DIR");

	if (base == NULL || strlen(base) > 40)
		base = "/tmp";
	snprintf(directory->path, sizeof(directory->path), "%s/unit-XXXXXX",
	    base);
	assert_non_null(mkdtemp(directory->path));
	directory->fd = open(directory->path, O_RDONLY | O_DIRECTORY);
	assert_true(directory->fd >= 0);
}

static inline void
directory_remove(struct directory *directory)
{
	close(directory->fd);
	remove_tree(AT_FDCWD, directory->path);
}

static inline void
directory_put(const struct directory *directory, const char *name,
    struct slice octets)
{
	int fd = openat(directory->fd, name, O_WRONLY | O_CREAT | O_TRUNC,
	    0600);

	if (fd < 0)
		fail_msg("%s: %s", name, strerror(errno));
	assert_int_equal(write(fd, octets.data, octets.len), octets.len);
	close(fd);
}

/* Makes a directory, and those above it. */
static inline void
directory_mkdir(const struct directory *directory, const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s", name);
	for (char *slash = path; (slash = strchr(slash, '/')) != NULL;) {
		*slash = '\0';
		mkdirat(directory->fd, path, 0700);
		*slash++ = '/';
	}
	if (mkdirat(directory->fd, path, 0700) != 0 && errno != EEXIST)
		fail_msg("%s: %s", path, strerror(errno));
}

/* A path below the directory; the text lives until the next call. */
static inline const char *
directory_path(const struct directory *directory, const char *name)
{
	static char path[4200];

	snprintf(path, sizeof(path), "%s/%s", directory->path, name);
	return path;
}

/* ---- replaying a dialogue ---- */

/* What comes after the client's last octet. */
enum drive_end {
	DRIVE_EOF,      /* it closes its side */
	DRIVE_TIMEOUT,  /* nothing, for too long */
	DRIVE_STOPPING, /* we are told to stop */
	DRIVE_STAY,     /* nothing: the core goes on waiting */
};

/* One run: how the octets are dealt out. 0 means whole. */
struct drive_plan {
	size_t cut;   /* the first piece's length, where the rest is whole */
	size_t piece; /* or every piece's */
	size_t drain; /* octets taken from out at a time */
	bool large;   /* buffers larger than the smallest allowed */
};

struct drive {
	struct wire *wire;
	struct drive_plan plan;
	struct text sent;   /* all that the core put out */
	struct text events; /* what the adapter notes */
};

/* A core behind its adapter. */
struct drive_core {
	size_t in_min;
	size_t out_min;
	void *arg;
	/* A new session with these buffers. */
	struct wire *(*start)(void *arg, char *in, size_t in_size, char *out,
	    size_t out_size);
	/* Runs it until it wants I/O (false) or is closed (true), answers
	 * the events on the way and notes them in drive->events. */
	bool (*run)(void *arg, struct drive *drive);
};

struct drive_dialogue {
	const char *name;
	struct slice input;
	struct slice output;
	struct slice events;
	enum drive_end end;
	/* Is it the core that ends the session, before the above? */
	bool closes;
};

/* Takes octets out of the wire, as the peer would; false where there are
 * none. Adapters call it where they would pump. */
static inline bool
drive_drain(struct drive *drive)
{
	struct slice out = buf_contents(&drive->wire->out);

	if (out.len == 0)
		return false;
	if (drive->plan.drain > 0 && out.len > drive->plan.drain)
		out.len = drive->plan.drain;
	text_add(&drive->sent, out);
	buf_consume(&drive->wire->out, out.len);
	return true;
}

/* The next piece of the input, as much of it as there is room for. */
static inline void
drive_feed(struct drive *drive, struct slice input, size_t *at)
{
	const struct drive_plan *plan = &drive->plan;
	size_t n = input.len - *at;
	size_t room;
	char *to = buf_reserve(&drive->wire->in, &room);

	if (plan->piece > 0 && n > plan->piece)
		n = plan->piece;
	else if (*at < plan->cut && n > plan->cut - *at)
		n = plan->cut - *at;
	if (n > room)
		n = room;
	if (n == 0)
		fail_msg("the core leaves no room for input");
	memcpy(to, input.data + *at, n);
	buf_commit(&drive->wire->in, n);
	*at += n;
}

static inline void
drive_end_input(struct wire *wire, enum drive_end end)
{
	wire->eof = end == DRIVE_EOF;
	wire->timed_out = end == DRIVE_TIMEOUT;
	wire->stopping = end == DRIVE_STOPPING;
}

/* One session. True where the core closed it before the input's end. */
static inline bool
drive_session(struct drive *drive, const struct drive_core *core,
    const struct drive_dialogue *dialogue, struct guarded *in,
    struct guarded *out)
{
	size_t at = 0;
	bool ended = false;
	bool closed;

	drive->sent.len = drive->events.len = 0;
	drive->wire = core->start(core->arg, in->data, in->size, out->data,
	    out->size);
	for (;;) {
		closed = core->run(core->arg, drive);
		if (drive_drain(drive))
			continue;
		if (closed)
			return !ended;
		if (at < dialogue->input.len) {
			drive_feed(drive, dialogue->input, &at);
		} else if (dialogue->end == DRIVE_STAY) {
			return false;
		} else if (ended) {
			fail_msg("%s: does not close", dialogue->name);
		} else {
			drive_end_input(drive->wire, dialogue->end);
			ended = true;
		}
	}
}

static inline void
drive_fail(const struct drive *drive, const struct drive_dialogue *dialogue,
    const char *what, struct slice got, struct slice want)
{
	char *input = shown(dialogue->input);
	char *got_shown = shown(got), *want_shown = shown(want);

	print_error("%s: wrong %s with cut %zu, pieces of %zu, drained by "
	    "%zu, %s buffers, from octet %zu on\n input: \"%s\n got:   \"%s\n"
	    " want:  \"%s\n", dialogue->name, what, drive->plan.cut,
	    drive->plan.piece, drive->plan.drain,
	    drive->plan.large ? "large" : "small",
	    first_difference(got, want), input, got_shown, want_shown);
	free(input);
	free(got_shown);
	free(want_shown);
	_fail(__FILE__, __LINE__);
}

static inline void
drive_once(struct drive *drive, const struct drive_core *core,
    const struct drive_dialogue *dialogue, struct guarded *in,
    struct guarded *out)
{
	bool closed = drive_session(drive, core, dialogue, in, out);
	struct slice sent = text_slice(&drive->sent);
	struct slice events = text_slice(&drive->events);

	if (!slice_equal(sent, dialogue->output))
		drive_fail(drive, dialogue, "output", sent, dialogue->output);
	if (!slice_equal(events, dialogue->events))
		drive_fail(drive, dialogue, "events", events,
		    dialogue->events);
	if (closed != dialogue->closes)
		fail_msg("%s: %s", dialogue->name, closed
		    ? "closes by itself" : "stays open");
}

/* Buffers of the smallest size, and of one that is odd and larger. */
static inline void
drive_buffers(const struct drive_core *core, struct guarded in[2],
    struct guarded out[2])
{
	guarded_new(&in[0], core->in_min);
	guarded_new(&in[1], core->in_min * 2 + 4321);
	guarded_new(&out[0], core->out_min);
	guarded_new(&out[1], core->out_min * 3 + 1234);
}

/* Is the cut within so many octets of an end, or of a line end? */
static inline bool
drive_near_edge(struct slice input, size_t cut, size_t edge)
{
	if (cut <= edge || input.len - cut <= edge)
		return true;
	struct slice around = { input.data + cut - edge, 2 * edge };
	return memchr(around.data, '\n', around.len) != NULL;
}

/*
 * The whole programme, but that of the cuts only those are made that are
 * within edge octets of an end of the input, or of a line end in it; with 0
 * none.
 */
static inline void
drive_replay_edges(const struct drive_core *core,
    const struct drive_dialogue *dialogue, size_t edge)
{
	static const size_t pieces[] = { 0, 1, 2, 3, 7, 39 };
	static const size_t drains[] = { 0, 1, 2, 7, 64 };
	struct drive drive = { .wire = NULL };
	struct guarded in[2], out[2];

	drive_buffers(core, in, out);
	/* Of what is long some pairs of sizes will do. */
	bool is_long = dialogue->input.len + dialogue->output.len > 6000;
	for (size_t i = 0; i < COUNT(pieces); i++)
		for (size_t k = 0; k < COUNT(drains); k++)
			for (size_t large = 0; large < 2; large++) {
				if (is_long && (i + k + large) % 4 != 0)
					continue;
				drive.plan = (struct drive_plan){
					.piece = pieces[i],
					.drain = drains[k],
					.large = large == 1,
				};
				drive_once(&drive, core, dialogue, &in[large],
				    &out[large]);
			}
	for (size_t cut = 1; cut < dialogue->input.len; cut++) {
		if (!drive_near_edge(dialogue->input, cut, edge))
			continue;
		for (size_t large = 0; large < 2; large++) {
			size_t k = (cut + large) % COUNT(drains);

			drive.plan = (struct drive_plan){
				.cut = cut, .large = large == 1,
				.drain = is_long ? drains[k] * 64 : drains[k],
			};
			drive_once(&drive, core, dialogue, &in[large],
			    &out[large]);
		}
	}
	for (size_t large = 0; large < 2; large++) {
		guarded_free(&in[large]);
		guarded_free(&out[large]);
	}
	text_free(&drive.sent);
	text_free(&drive.events);
}

/* The whole programme, cut at every octet. */
static inline void
drive_replay(const struct drive_core *core,
    const struct drive_dialogue *dialogue)
{
	drive_replay_edges(core, dialogue, SIZE_MAX);
}

/*
 * For dialogues that are too many or too long to write down: the first run,
 * whole, says what is right, and every other must agree. The caller looks
 * at that first run as closely as it can (*said may be NULL).
 */
static inline void
drive_agree(const struct drive_core *core, struct drive_dialogue dialogue,
    struct text *said)
{
	struct drive drive = { .wire = NULL };
	struct guarded in[2], out[2];

	drive_buffers(core, in, out);
	dialogue.closes = drive_session(&drive, core, &dialogue, &in[0],
	    &out[0]);
	dialogue.output = text_slice(&drive.sent);
	dialogue.events = text_slice(&drive.events);
	for (size_t large = 0; large < 2; large++) {
		guarded_free(&in[large]);
		guarded_free(&out[large]);
	}
	drive_replay(core, &dialogue);
	if (said != NULL)
		text_add(said, dialogue.output);
	text_free(&drive.sent);
	text_free(&drive.events);
}

#endif
