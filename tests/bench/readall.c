/*
 * The yardstick for a first login: opens every file of a directory, reads it
 * to its end and closes it. Says how many octets there were.
 *
 *	readall DIRECTORY
 */
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static char block[65536];

int
main(int argc, char **argv)
{
	unsigned long long octets = 0;
	struct dirent *entry;
	DIR *directory;
	ssize_t n;
	int fd;

	if (argc != 2)
		errx(64, "usage: readall DIRECTORY");
	directory = opendir(argv[1]);
	if (directory == NULL)
		err(1, "%s", argv[1]);
	while ((entry = readdir(directory)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		fd = openat(dirfd(directory), entry->d_name, O_RDONLY);
		if (fd < 0)
			err(1, "%s", entry->d_name);
		while ((n = read(fd, block, sizeof(block))) > 0)
			octets += (unsigned long long)n;
		close(fd);
	}
	printf("%llu\n", octets);
	return 0;
}
