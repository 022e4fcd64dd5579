/*
 * notify: tells the service manager how far we are (sd_notify(3)), without
 * its library.
 */
#ifndef NOTIFY_H
#define NOTIFY_H

/* Sends state, "READY=1" for one, to $NOTIFY_SOCKET where that is set. That
 * nobody listens there is no fault of ours. */
void notify_send(const char *state);

#endif
