/* server - takes mail on a port and prints it: server PORT */
#include <mailhandlers.h>
#include <stdio.h>
#include <string.h>

int
main(int argc, char **argv)
{
	const struct mh_options options = { .size = sizeof(options),
		.protocol = MH_SMTP, .hostname = "mail.example" };
	struct mh_server *server = mh_server_new();
	const struct mh_event *event;

	if (argc != 2 || server == NULL || mh_server_listen(server,
	    mh_listen("127.0.0.1", argv[1]), &options, NULL) != 0)
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
