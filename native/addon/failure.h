// Exceptions of any kind as JavaScript's errors: whatever ends a job rejects its promise, and never the process.
#pragma once

#include <napi.h>

#include <exception>
#include <string>

namespace hearth {

/// The error for an exception; on the JavaScript thread. The core's own say what is wrong; the others (no memory, no thread) are
/// told of `subject`: a model's file, or what was to be done.
Napi::Error error_of(Napi::Env env, const std::exception_ptr& failure, const std::string& subject);

/// Settles a promise with what `make` returns, or throws.
template <class Make>
void settle(Napi::Env env, const Napi::Promise::Deferred& deferred, const std::string& subject, const Make& make) {
  try {
    deferred.Resolve(make());
  } catch (...) { deferred.Reject(error_of(env, std::current_exception(), subject).Value()); }
}

}  // namespace hearth
