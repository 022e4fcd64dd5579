/* own_names - a program that has functions called as some of the library's
 * inside are, and its own meaning of them. */
#include <mailhandlers.h>
#include <stdio.h>

int buf_init(int n);
int error_set(int n);
int smtp_next(int n);

int
buf_init(int n)
{
	return n + 1;
}

int
error_set(int n)
{
	return n + 2;
}

int
smtp_next(int n)
{
	return n + 4;
}

int
main(void)
{
	struct mh_server *server = mh_server_new();

	if (server == NULL || mh_version() != MH_VERSION ||
	    buf_init(0) + error_set(0) + smtp_next(0) != 7)
		return 1;
	mh_server_free(server);
	puts("7");
	return 0;
}
