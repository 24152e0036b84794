/* GnuTLS, loaded at first use. */
#include "daemon/tls.h"

#include "daemon/log.h"
#include "os/library.h"
#include "os/random.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LIBRARY "libgnutls.so.30"

/* What ordinary clients offer; fast ciphers first. */
#define PRIORITY "PERFORMANCE:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

enum { CERTIFICATE_DAYS = 3650, DAY_S = 24 * 3600 };

/* The functions of the library. */
struct functions {
    int (*init)(gnutls_session_t *session, unsigned flags);
    void (*deinit)(gnutls_session_t session);
    int (*set_priority)(gnutls_session_t session, const char *text, const char **ret_wrong);
    int (*set_credentials)(gnutls_session_t session, gnutls_credentials_type_t type, void *cred);
    void (*set_fd)(gnutls_session_t session, int receive, int send);
    int (*set_alpn)(gnutls_session_t session, const gnutls_datum_t *names, unsigned count,
                    unsigned flags);
    int (*set_name)(gnutls_session_t session, gnutls_server_name_type_t type, const void *name,
                    size_t len);
    int (*handshake)(gnutls_session_t session);
    int (*direction)(gnutls_session_t session);
    ssize_t (*send)(gnutls_session_t session, const void *data, size_t len);
    ssize_t (*recv)(gnutls_session_t session, void *data, size_t len);
    int (*is_fatal)(int error);
    int (*credentials_new)(gnutls_certificate_credentials_t *ret);
    void (*credentials_free)(gnutls_certificate_credentials_t cred);
    int (*credentials_key)(gnutls_certificate_credentials_t cred, gnutls_x509_crt_t *list,
                           int count, gnutls_x509_privkey_t key);
    int (*key_new)(gnutls_x509_privkey_t *ret);
    void (*key_free)(gnutls_x509_privkey_t key);
    int (*key_generate)(gnutls_x509_privkey_t key, gnutls_pk_algorithm_t algorithm, unsigned bits,
                        unsigned flags);
    int (*crt_new)(gnutls_x509_crt_t *ret);
    void (*crt_free)(gnutls_x509_crt_t crt);
    int (*crt_version)(gnutls_x509_crt_t crt, unsigned version);
    int (*crt_serial)(gnutls_x509_crt_t crt, const void *serial, size_t len);
    int (*crt_begin)(gnutls_x509_crt_t crt, time_t at);
    int (*crt_end)(gnutls_x509_crt_t crt, time_t at);
    int (*crt_key)(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key);
    int (*crt_name)(gnutls_x509_crt_t crt, const char *oid, unsigned raw, const void *name,
                    unsigned len);
    int (*crt_sign)(gnutls_x509_crt_t crt, gnutls_x509_crt_t issuer, gnutls_x509_privkey_t key,
                    gnutls_digest_algorithm_t digest, unsigned flags);
};

struct tls {
    struct functions f;
    gnutls_certificate_credentials_t credentials;
    bool server;
};

struct tls_session {
    const struct functions *f;
    gnutls_session_t session;
};

static int load(struct functions *ret, const char **ret_error)
{
    void *library; /* stays */
    struct functions f;
    const struct library_symbol table[] = {
        {"gnutls_init", &f.init},
        {"gnutls_deinit", &f.deinit},
        {"gnutls_priority_set_direct", &f.set_priority},
        {"gnutls_credentials_set", &f.set_credentials},
        {"gnutls_transport_set_int2", &f.set_fd},
        {"gnutls_alpn_set_protocols", &f.set_alpn},
        {"gnutls_server_name_set", &f.set_name},
        {"gnutls_handshake", &f.handshake},
        {"gnutls_record_get_direction", &f.direction},
        {"gnutls_record_send", &f.send},
        {"gnutls_record_recv", &f.recv},
        {"gnutls_error_is_fatal", &f.is_fatal},
        {"gnutls_certificate_allocate_credentials", &f.credentials_new},
        {"gnutls_certificate_free_credentials", &f.credentials_free},
        {"gnutls_certificate_set_x509_key", &f.credentials_key},
        {"gnutls_x509_privkey_init", &f.key_new},
        {"gnutls_x509_privkey_deinit", &f.key_free},
        {"gnutls_x509_privkey_generate", &f.key_generate},
        {"gnutls_x509_crt_init", &f.crt_new},
        {"gnutls_x509_crt_deinit", &f.crt_free},
        {"gnutls_x509_crt_set_version", &f.crt_version},
        {"gnutls_x509_crt_set_serial", &f.crt_serial},
        {"gnutls_x509_crt_set_activation_time", &f.crt_begin},
        {"gnutls_x509_crt_set_expiration_time", &f.crt_end},
        {"gnutls_x509_crt_set_key", &f.crt_key},
        {"gnutls_x509_crt_set_dn_by_oid", &f.crt_name},
        {"gnutls_x509_crt_sign2", &f.crt_sign},
    };
    int err = library_open(LIBRARY, table, COUNT_OF(table), &library, ret_error);
    if (err == 0) {
        *ret = f;
    }
    return err;
}

/* A certificate that says nothing, signed by its own key. */
static int fill_certificate(const struct functions *f, gnutls_x509_crt_t crt,
                            gnutls_x509_privkey_t key)
{
    static const char name[] = "localhost";
    uint8_t serial[12];
    time_t now = time(NULL);
    random_bytes(serial, sizeof(serial));
    serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x01); /* positive, and not zero */
    int err = f->crt_version(crt, 3);
    err = err < 0 ? err : f->crt_serial(crt, serial, sizeof(serial));
    err = err < 0 ? err : f->crt_begin(crt, now - DAY_S);
    err = err < 0 ? err : f->crt_end(crt, now + (time_t)CERTIFICATE_DAYS * DAY_S);
    err = err < 0
              ? err
              : f->crt_name(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name, (unsigned)sizeof(name) - 1);
    err = err < 0 ? err : f->crt_key(crt, key);
    return err < 0 ? err : f->crt_sign(crt, crt, key, GNUTLS_DIG_SHA256, 0);
}

static int make_certificate(struct tls *tls)
{
    const struct functions *f = &tls->f;
    gnutls_x509_privkey_t key = NULL;
    gnutls_x509_crt_t crt = NULL;
    int err = f->key_new(&key);
    err = err < 0 ? err : f->crt_new(&crt);
    err = err < 0 ? err
                  : f->key_generate(key, GNUTLS_PK_ECDSA,
                                    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    err = err < 0 ? err : fill_certificate(f, crt, key);
    err = err < 0 ? err : f->credentials_key(tls->credentials, &crt, 1, key);
    if (crt != NULL) {
        f->crt_free(crt);
    }
    if (key != NULL) {
        f->key_free(key);
    }
    return err < 0 ? -EIO : 0;
}

int tls_new(bool server, struct tls **ret)
{
    const char *error = NULL;
    struct tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL) {
        return -ENOMEM;
    }
    tls->server = server;
    int err = load(&tls->f, &error);
    if (err < 0) {
        log_write(LOG_LEVEL_WARN, "tls", "no TLS library error=\"%s\"", error);
        free(tls);
        return err;
    }
    err = tls->f.credentials_new(&tls->credentials) < 0 ? -ENOMEM : 0;
    if (err == 0 && server) {
        err = make_certificate(tls);
    }
    if (err < 0) {
        tls_free(tls);
        return err;
    }
    *ret = tls;
    return 0;
}

void tls_free(struct tls *tls)
{
    if (tls == NULL) {
        return;
    }
    if (tls->credentials != NULL) {
        tls->f.credentials_free(tls->credentials);
    }
    free(tls);
}

static int set_up(const struct tls *tls, gnutls_session_t session, int fd, const char *name)
{
    static uint8_t http[] = "http/1.1";
    const gnutls_datum_t protocols[] = {{http, sizeof(http) - 1}};
    const struct functions *f = &tls->f;
    int err = f->set_priority(session, PRIORITY, NULL);
    err = err < 0 ? err : f->set_credentials(session, GNUTLS_CRD_CERTIFICATE, tls->credentials);
    err = err < 0 ? err : f->set_alpn(session, protocols, COUNT_OF(protocols), 0);
    if (err >= 0 && name != NULL && !tls->server) {
        err = f->set_name(session, GNUTLS_NAME_DNS, name, strlen(name));
    }
    f->set_fd(session, fd, fd);
    return err;
}

struct tls_session *tls_session_new(struct tls *tls, int fd, const char *name)
{
    unsigned role = tls->server ? GNUTLS_SERVER : GNUTLS_CLIENT;
    struct tls_session *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return NULL;
    }
    s->f = &tls->f;
    if (s->f->init(&s->session, role | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0) {
        free(s);
        return NULL;
    }
    if (set_up(tls, s->session, fd, name) < 0) {
        tls_session_free(s);
        return NULL;
    }
    return s;
}

void tls_session_free(struct tls_session *session)
{
    if (session != NULL) {
        session->f->deinit(session->session);
        free(session);
    }
}

/* Bytes, or what an error of the library means to us. A wish to negotiate anew is refused. */
static ssize_t result(ssize_t n)
{
    bool again =
        n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_WARNING_ALERT_RECEIVED;
    return n >= 0 ? n : again ? -EAGAIN : -EPROTO;
}

int tls_handshake(struct tls_session *session, bool *ret_write)
{
    int err;
    do {
        err = session->f->handshake(session->session);
    } while (err == GNUTLS_E_INTERRUPTED);
    *ret_write = session->f->direction(session->session) == 1;
    if (err == GNUTLS_E_SUCCESS || err == GNUTLS_E_AGAIN) {
        return err == GNUTLS_E_SUCCESS ? 0 : -EAGAIN;
    }
    return session->f->is_fatal(err) != 0 ? -EPROTO : -EAGAIN;
}

ssize_t tls_read(struct tls_session *session, void *buf, size_t cap)
{
    return result(session->f->recv(session->session, buf, cap));
}

ssize_t tls_write(struct tls_session *session, const void *data, size_t len)
{
    len = len < TLS_RECORD_MAX ? len : TLS_RECORD_MAX;
    return result(session->f->send(session->session, data, len));
}
