/* Telling a service manager how far we are (the sd_notify protocol, without its library).
 * Source: spec 05 section 6.12. */
#pragma once

/* Send a state such as "READY=1" to the manager, if there is one. */
void notify_manager(const char *state);
