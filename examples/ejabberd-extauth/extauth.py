"""An external authentication script of ejabberd: everyone's password is `secret`."""

from ejabberd_extauth import ExtAuth, ExtAuthHandler


class OnePassword(ExtAuthHandler):
    name = "one_password"

    def auth(self, user, server, password):
        return password == "secret"

    def is_user(self, user, server):
        return True


ExtAuth(OnePassword).run()
