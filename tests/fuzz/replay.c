/*
 * replay.c - a fuzzer without libFuzzer: every file of the folders given is
 * one input. For "make check" and for compilers that have no fuzzer.
 *
 * Names the input where one fails, whether by abort, by a signal or by a
 * sanitizer's word.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>

/* No fuzzer's input takes a second. */
#define SECONDS_MAX 60

/* Of the sanitizers, where they are there. */
extern void __sanitizer_set_death_callback(void (*callback)(void))
    __attribute__((weak));

static char current[4096];
static size_t count;

static void
write_all(const char *text)
{
	ssize_t n = write(STDERR_FILENO, text, strlen(text));

	(void)n; /* there is nobody else to tell */
}

static void
name_input(void)
{
	write_all("replay: failed with ");
	write_all(current[0] != '\0' ? current : "no input");
	write_all("\n");
}

static void
take_signal(int number)
{
	name_input();
	signal(number, SIG_DFL);
	raise(number);
}

static void
catch_failures(void)
{
	static const int numbers[] = { SIGABRT, SIGALRM, SIGSEGV, SIGBUS,
		SIGFPE, SIGILL };
	bool sanitized = __sanitizer_set_death_callback != NULL;

	if (sanitized)
		__sanitizer_set_death_callback(name_input);
	/* A sanitizer has more to say about the later ones than we do. */
	for (size_t i = 0; i < (sanitized ? 2 : COUNT(numbers)); i++)
		signal(numbers[i], take_signal);
}

static int
complain(const char *path)
{
	fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
	return -1;
}

static int
replay_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	struct text text = { .data = NULL };
	char piece[4096];
	size_t n;

	if (file == NULL)
		return complain(path);
	while ((n = fread(piece, 1, sizeof(piece), file)) > 0)
		text_add(&text, (struct slice){ piece, n });
	if (ferror(file)) {
		fclose(file);
		text_free(&text);
		return complain(path);
	}
	fclose(file);
	char *copy = fuzz_copy(text_slice(&text));
	snprintf(current, sizeof(current), "%s", path);
	alarm(SECONDS_MAX);
	LLVMFuzzerTestOneInput((const uint8_t *)copy, text.len);
	alarm(0);
	current[0] = '\0';
	free(copy);
	text_free(&text);
	count++;
	return 0;
}

static int
is_input(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static int
replay_folder(const char *path)
{
	struct dirent **entries;
	int n = scandir(path, &entries, is_input, alphasort);
	int result = 0;

	if (n < 0)
		return errno == ENOTDIR ? replay_file(path) : complain(path);
	for (int i = 0; i < n; i++) {
		char name[4096];
		int len = snprintf(name, sizeof(name), "%s/%s", path,
		    entries[i]->d_name);

		if (len < 0 || (size_t)len >= sizeof(name)) {
			errno = ENAMETOOLONG;
			result = complain(path);
		} else if (replay_file(name) < 0) {
			result = -1;
		}
		free(entries[i]);
	}
	free(entries);
	return result;
}

int
main(int argc, char **argv)
{
	int result = 0;

	catch_failures();
	for (int i = 1; i < argc; i++)
		if (replay_folder(argv[i]) < 0)
			result = -1;
	printf("%s: %zu inputs\n", argv[0], count);
	if (count == 0) {
		fprintf(stderr, "replay: nothing to replay\n");
		return 1;
	}
	return result < 0 ? 1 : 0;
}
