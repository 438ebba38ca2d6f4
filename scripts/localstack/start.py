"""Starts LocalStack, which takes functions and runs none: for that it wants Docker, and without Docker it would refuse to make them."""

from localstack.runtime.main import main
from localstack.services.lambda_ import provider
from localstack.services.lambda_.invocation import runtime_executor, version_manager
from localstack.services.lambda_.invocation.docker_runtime_executor import DockerRuntimeExecutor


class NoExecutor(DockerRuntimeExecutor):
    """Prepares nothing, so that a function is made at once. A function that is called fails."""

    @classmethod
    def prepare_version(cls, function_version):
        pass

    @classmethod
    def cleanup_version(cls, function_version):
        pass

    @classmethod
    def validate_environment(cls):
        return True


if __name__ == "__main__":
    for module in (runtime_executor, version_manager, provider):
        module.get_runtime_executor = lambda: NoExecutor
    main()
