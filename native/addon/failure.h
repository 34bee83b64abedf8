// Turns exceptions of any kind into JavaScript's errors. An exception that ends a job rejects the promise of the job
// and never ends the process.
#pragma once

#include <napi.h>

#include <exception>
#include <string>

namespace hearth {

/// Makes the error for an exception. On the JavaScript thread. The messages of the core's exceptions are complete.
/// Other messages (no memory, no thread) begin with `subject`, which names the model's file or what was to be done.
Napi::Error error_of(Napi::Env env, const std::exception_ptr& failure, const std::string& subject);

/// Resolves a promise with the value that `make` returns, or rejects it with the exception that `make` throws.
template <class Make>
void settle(Napi::Env env, const Napi::Promise::Deferred& deferred, const std::string& subject, const Make& make) {
  try {
    deferred.Resolve(make());
  } catch (...) { deferred.Reject(error_of(env, std::current_exception(), subject).Value()); }
}

}  // namespace hearth
