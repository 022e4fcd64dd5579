/* server - takes mail on a port and tells of it: server PORT */
#include <arpa/inet.h>
#include <mailhandlers.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int
main(int argc, char **argv)
{
	const struct mh_options options = { .size = sizeof(options),
		.protocol = MH_SMTP, .hostname = "mail.example" };
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_port = htons((unsigned short)atoi(argv[argc - 1])),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct mh_server *server = mh_server_new();
	const struct mh_event *event;

	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
	    listen(fd, 4096) != 0 || server == NULL ||
	    mh_server_listen(server, fd, &options, NULL) != 0)
		return perror("listen"), 1;
	setvbuf(stdout, NULL, _IONBF, 0);
	while ((event = mh_server_wait(server, -1)) != NULL)
		if (event->type == MH_RECIPIENT && event->address.len > 6 &&
		    memcmp(event->address.data, "nobody", 6) == 0)
			mh_refuse(event->session, MH_UNKNOWN, NULL);
		else if (event->type == MH_MESSAGE && fwrite(event->text.data,
		    1, event->text.len, stdout) != event->text.len)
			mh_refuse(event->session, MH_LATER, NULL);
		else
			mh_accept(event->session);
}
