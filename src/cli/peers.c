/* "panlan peers": the layout that scripts know, and for people a table that explains itself, once
 * or live. Source: spec 05 section 4.4; doc/man/panlan.1. */
#include "cli/format.h"
#include "cli/own.h"
#include "cli/peers_table.h"
#include "os/clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum {
    WATCH_DEFAULT_MS = 2000,
    WATCH_MIN_MS = 100,
    WATCH_MAX_MS = 3600000,
};

static const char terminal_start[] = "\033[?25l\033[2J";    /* no cursor, empty screen */
static const char terminal_home[] = "\033[H";               /* write over what is there */
static const char terminal_rest[] = "\033[J";               /* empty below */
static const char terminal_line[] = "\033[K\n";             /* empty to the right, next line */
static const char terminal_stop[] = "\033[?25h\033[0m\r\n"; /* cursor again */

struct watch {
    struct cli *cli;
    int span_ms; /* between two looks, 0 = one look */
    bool why;    /* explain reasons below the table */
    bool screen; /* output is a terminal: redraw in place */
    bool keys;   /* input is one: q ends */
    struct termios saved;
    json_t *before;
    int64_t before_ms; /* monotonic */
};

static volatile sig_atomic_t is_ended;

static void on_signal(int number)
{
    is_ended |= number != SIGWINCH; /* that one only wakes the wait, to draw anew */
}

static void terminal_begin(struct watch *w)
{
    /* Without SA_RESTART: ends waits. A second one ends the program, wherever it hangs. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    struct termios raw;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    action.sa_flags = 0;
    (void)sigaction(SIGWINCH, &action, NULL);
    w->screen = isatty(STDOUT_FILENO) == 1 && !w->cli->json;
    w->keys = w->screen && isatty(STDIN_FILENO) == 1 && tcgetattr(STDIN_FILENO, &w->saved) == 0;
    if (w->keys) {
        raw = w->saved;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        w->keys = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
    }
    (void)fputs(w->screen ? terminal_start : "", stdout);
}

static void terminal_end(const struct watch *w)
{
    if (w->screen) {
        (void)fputs(terminal_stop, stdout);
        (void)fflush(stdout);
    }
    if (w->keys) {
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &w->saved);
    }
}

/* Size of the terminal; 0 where it is none. */
static void terminal_size(unsigned *ret_width, unsigned *ret_height)
{
    struct winsize size;
    bool known = isatty(STDOUT_FILENO) == 1 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
    *ret_width = known ? size.ws_col : 0;
    *ret_height = known ? size.ws_row : 0;
}

/* Get and print once; keeps the peers for the rates of the next time. */
static int look(struct watch *w)
{
    json_t *status = NULL;
    json_t *peers = NULL;
    struct peers_view view = {.wall_ms = clock_wall_ms(), .line_end = "\n"};
    int64_t now_ms = clock_mono_ms();
    int err = cli_get(w->cli, "/peer", &peers);
    if (err == 0 && w->cli->json) {
        format_json(stdout, peers);
    }
    err = err != 0 || w->cli->json ? err : cli_get(w->cli, "/status", &status);
    if (err == 0 && !w->cli->json) {
        view.status = status;
        view.peers = peers;
        view.before = w->before;
        view.span_ms = now_ms - w->before_ms;
        terminal_size(&view.width, &view.height);
        view.height = w->screen ? view.height : 0;
        view.line_end = w->screen ? terminal_line : "\n";
        (void)fputs(w->screen ? terminal_home : "", stdout);
        peers_table(stdout, &view);
        (void)fputs(w->screen ? terminal_rest : "", stdout);
        if (w->why && !w->screen) {
            peers_reasons(stdout, peers);
        }
    }
    json_decref(status);
    json_decref(w->before);
    w->before = peers;
    w->before_ms = now_ms;
    if (err == 0 && (fflush(stdout) != 0 || ferror(stdout) != 0)) {
        return CLI_FAILED; /* who read it has gone */
    }
    return err;
}

/* Wait for the next look. Returns false to end. */
static bool wait_next(const struct watch *w)
{
    struct pollfd input = {.fd = w->keys ? STDIN_FILENO : -1, .events = POLLIN};
    struct timespec span = {w->span_ms / 1000, (long)(w->span_ms % 1000) * 1000000};
    sigset_t held;
    sigset_t open;
    char key;
    int n = 0;
    (void)sigemptyset(&held);
    (void)sigaddset(&held, SIGINT);
    (void)sigaddset(&held, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &held, &open);
    if (is_ended == 0) {
        n = ppoll(&input, 1, &span, &open); /* lets them in */
    }
    (void)sigprocmask(SIG_SETMASK, &open, NULL);
    if (n > 0 && (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q')) {
        return false;
    }
    return is_ended == 0;
}

static int watch_run(struct watch *w)
{
    int status;
    terminal_begin(w);
    while ((status = look(w)) == 0 && wait_next(w)) {
        (void)fputs(w->screen ? "" : "\n", stdout);
    }
    terminal_end(w);
    return status;
}

/* Seconds, perhaps with a fraction, as milliseconds; 0 if it is none. */
static int parse_span(const char *text)
{
    char *end;
    double s = strtod(text, &end);
    if (end == text || *end != '\0' || !(s * 1000 >= WATCH_MIN_MS) || s * 1000 > WATCH_MAX_MS) {
        return 0;
    }
    return (int)(s * 1000);
}

static int usage(void)
{
    (void)fprintf(stderr,
                  "panlan peers [-v | --why] [--watch [SECONDS]]: SECONDS from 0.1 to 3600\n");
    return CLI_USAGE;
}

int peers_run(struct cli *cli)
{
    struct watch w = {.cli = cli};
    bool table = false;
    for (int i = 0; i < cli->arg_count; i++) {
        const char *arg = cli->args[i];
        if (strcmp(arg, "--why") == 0 || strcmp(arg, "-v") == 0) {
            table = w.why = true;
        } else if (strcmp(arg, "--watch") == 0) {
            table = true;
            w.span_ms = WATCH_DEFAULT_MS;
            if (i + 1 < cli->arg_count && cli->args[i + 1][0] != '-') {
                w.span_ms = parse_span(cli->args[++i]);
            }
            if (w.span_ms == 0) {
                return usage();
            }
        } else {
            return usage();
        }
    }
    if (!table) {
        return commands_run(cli);
    }
    int status = cli_connect(cli);
    if (status == 0) {
        status = w.span_ms > 0 ? watch_run(&w) : look(&w);
        json_decref(w.before);
    }
    return status;
}
