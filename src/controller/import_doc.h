/* Files of the reference's controller.d as documents of ours, and back. Nothing is lost: keys that
 * nobody knows stay where they are, and a value that had to be changed is kept beside the new one
 * until somebody sets another. Pure text and JSON. Source: spec 04 sections 2, 3.2. */
#pragma once

#include "base/attr.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* Key of a document that holds what an import changed: {"<key>": {"was": value, "now": value}}. A
 * missing "now" stands for a key that was taken away. */
#define IMPORT_RECORD "importedValues"

/* Read a file that must hold one JSON object. Integers above 2^63-1 (the reference writes negative
 * ones so) become texts of a form that reads as the same number and is a number again when printed.
 * Returns a new reference; NULL with the reason in why (cap bytes). */
json_t *import_parse(const char *text, size_t len, char *why, size_t cap);

/* Compact text with sorted keys, malloc'd, in which such integers are numbers. NULL out of memory.
 */
char *import_print(const json_t *doc);

/* The ID in a document: lower or upper case, so many digits, else fallback. */
uint64_t import_doc_id(const json_t *doc, const char *key, unsigned digits, uint64_t fallback);

/* Make the object of a network file one that can be stored, what is odd about it is appended to
 * warnings (texts). Returns 0; -ENOMEM. */
MUST_CHECK int import_network_doc(json_t *doc, uint64_t nwid, json_t *warnings);

/* The same for a member. */
MUST_CHECK int import_member_doc(json_t *doc, uint64_t nwid, uint64_t address, json_t *warnings);

/* Make a stored document one for a file: values that an import changed and nobody since are what
 * they were. Returns 0; -ENOMEM. */
MUST_CHECK int export_doc(json_t *doc);
