/* embedded - libmailhandlers in the least program: keeps the last message.
 * embedded PORT */
#include <mailhandlers.h>
#include <stdlib.h>
#include <string.h>

int
main(int argc, char **argv)
{
	const struct mh_options options = { .size = sizeof(options),
		.hostname = "mail.example" };
	struct mh_server *server = mh_server_new();
	const struct mh_event *event;
	static char *kept;

	if (argc != 2 || server == NULL || mh_server_listen(server,
	    mh_listen("127.0.0.1", argv[1]), &options, NULL) != 0)
		return 1;
	while ((event = mh_server_wait(server, -1)) != NULL) {
		if (event->type == MH_MESSAGE) {
			free(kept);
			kept = malloc(event->text.len + 1);
			if (kept == NULL)
				return 1;
			memcpy(kept, event->text.data, event->text.len);
		}
		mh_accept(event->session);
	}
	return 0;
}
