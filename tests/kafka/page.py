"""The ACLs that docs/kafka.md lists."""

from streams.process.acls import Acl
from tests.docs.page import codes, read, section, table


def listed() -> dict[str, list[Acl]]:
    """By process, as the table has them: a name may end in *."""
    found: dict[str, list[Acl]] = {}
    for process, operations, resource, names in table(section(read("docs/kafka.md"), "ACLs")):
        found.setdefault(codes(process)[0], []).extend(
            Acl(operation, resource, name) for operation in codes(operations) for name in codes(names)
        )
    return found
