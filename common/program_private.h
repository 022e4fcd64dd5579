/*
 * program_private: what the sources of program share.
 */
#ifndef PROGRAM_PRIVATE_H
#define PROGRAM_PRIVATE_H

#include "program.h"
#include "system/tls_server.h"

/* ---- program_check.c ---- */

/* --check-config: logs the faults of the shared settings and of the
 * program's. Returns the exit status. */
int program_check_config(struct program *program);

/* Logs the lines of the users file that are wrong, which lock out their user.
 * Were there any? */
bool program_log_user_faults(const struct auth *auth);

/* ---- program_peer.c ---- */

/* The server's certificates and keys, where this program does TLS itself. */
struct tls_server_options program_tls_options(const struct program *program);

/* Loads them, where it does, into program->tls; the program frees that. */
int program_make_tls(struct program *program, struct error *error);

/* What the peer does before the protocol begins: PROXY header, handshake.
 * -1: logged, and there is nobody to serve. */
int program_hear_peer(struct program *program, struct error *error);

/* The handshake, on a connection whose output is drained. -1: logged, and
 * the connection is of no use any more. */
int program_shake_hands(struct program *program, struct error *error);

#endif
