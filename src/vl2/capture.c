/* What becomes of the frames of a network, told to the host one by one. While a network is captured
 * nothing of it is published, so that every frame comes by here; that is slower and says all.
 * A frame passed if it left or reached the port; else the first counter that went up says why not.
 * Source: doc/operations.md. */
#include "vl2/vl2_priv.h"

#include <errno.h>

int vl2_capture(struct vl2 *vl2, uint64_t nwid, bool on)
{
    struct network *net = vl2_find(vl2, nwid);

    if (net == NULL) {
        return -ENOENT;
    }
    net->captured = on;
    port_withdraw(net);
    return 0;
}

void capture_begin(struct network *net, bool outbound, uint64_t remote,
                   const struct filter_frame *frame)
{
    struct capture *capture = &net->vl2->capture;

    /* A frame that is handled because of another one, like the replica of a multicast, belongs to
     * that one. */
    if (!net->captured || frame->len == 0 || capture->net != NULL ||
        net->vl2->env->captured == NULL) {
        return;
    }
    *capture = (struct capture){
        .net = net,
        .frame =
            {
                .nwid = net->id,
                .outbound = outbound,
                .remote = remote,
                .dest_mac = frame->dest_mac,
                .source_mac = frame->source_mac,
                .ethertype = frame->ethertype,
                .payload = frame->payload,
                .len = frame->len,
            },
    };
}

void capture_end(struct vl2 *vl2)
{
    struct capture *capture = &vl2->capture;

    if (capture->net == NULL) {
        return;
    }
    if (capture->passed) {
        capture->frame.reason = NULL;
    } else if (capture->frame.reason == NULL) {
        capture->frame.reason = "vl2_nobody";
    }
    capture->net = NULL;
    vl2->env->captured(vl2->env->ctx, &capture->frame);
}

void capture_cancel(struct vl2 *vl2)
{
    vl2->capture.net = NULL;
}

void capture_count(struct vl2 *vl2, const char *reason)
{
    if (vl2->capture.net != NULL && vl2->capture.frame.reason == NULL) {
        vl2->capture.frame.reason = reason;
    }
}

void capture_verdict(struct vl2 *vl2, const struct filter_result *result)
{
    struct captured_frame *frame = &vl2->capture.frame;

    if (vl2->capture.net == NULL) {
        return;
    }
    for (size_t i = 0; i < result->effect_count; i++) {
        if (result->effects[i].is_redirect) {
            frame->redirected = result->effects[i].target;
        } else {
            frame->copies++;
        }
    }
    frame->by_capability = result->by_capability;
    frame->capability = result->capability_id;
}

void capture_passed(struct vl2 *vl2)
{
    vl2->capture.passed = true;
}
